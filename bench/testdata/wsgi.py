"""The Python scripts as a WSGI application: the same function answers."""
import importlib
import os

page = importlib.import_module(os.environ["BENCH_SCRIPT"]).page


def application(environ, start_response):
    body = page(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]

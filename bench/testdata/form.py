#!/usr/bin/python3
"""A contact form's answer, with what Python has on board."""
import html
import os
import re
import sys
from urllib.parse import parse_qs


def page(query):
    fields = parse_qs(query, keep_blank_values=True)
    problems = []
    if not fields.get("name", [""])[0].strip():
        problems.append("no name")
    if not re.match(r"[^@\s]+@[^@\s]+\.\w+$", fields.get("email", [""])[0]):
        problems.append("no e-mail address")
    rows = [
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>\n"
        for name, values in fields.items()
        for value in values
    ]
    out = ["<!DOCTYPE html>\n<html><head><title>Your message</title></head>\n<body>\n"]
    if problems:
        out.append(f"<p>It was not sent: {html.escape(', '.join(problems))}</p>\n")
    else:
        out.append("<p>Thank you!</p>\n")
    out += ["<table>\n", *rows, "</table>\n", f"<p>{len(rows)} values</p>\n</body></html>\n"]
    return "".join(out).encode()


if __name__ == "__main__":
    sys.stdout.buffer.write(b"Content-Type: text/html; charset=utf-8\n\n" + page(os.environ["QUERY_STRING"]))

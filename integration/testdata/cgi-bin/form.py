#!/usr/bin/python3
# What a form sent. Python has no CGI library any more: the body is read from standard
# input, and taken apart here.
import hashlib, os, re, sys, urllib.parse

method = os.environ["REQUEST_METHOD"]
out = sys.stdout.buffer
out.write(b"Content-Type: text/plain; charset=UTF-8\n"
          b"Set-Cookie: seen=now%20%26%20%22then%22; path=/\nSet-Cookie: two=2; path=/\n\n")
out.write(f"method {method}\n".encode())
fields = []
if method == "POST":
    body = sys.stdin.buffer.read(int(os.environ["CONTENT_LENGTH"]))
    boundary = re.search(r'boundary="?([^";]+)', os.environ["CONTENT_TYPE"])
    if boundary:
        for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1]:
            head, _, value = part.partition(b"\r\n\r\n")
            name = re.search(rb'[; ]name="([^"]*)"', head)[1].decode()
            file = re.search(rb'filename="([^"]*)"', head)
            if file:
                ctype = re.search(rb"Content-Type: *([^\r\n]*)", head, re.I)[1].decode()
                fields.append((name, f"file {name} name={file[1].decode()} type={ctype} "
                                     f"size={len(value)} sha1={hashlib.sha1(value).hexdigest()}"))
            else:
                fields.append((name, f"field {name}={value.decode()}"))
    else:
        fields = [(n, f"field {n}={v}") for n, v in urllib.parse.parse_qsl(body.decode(), keep_blank_values=True)]
else:
    fields = [(n, f"field {n}={v}") for n, v in urllib.parse.parse_qsl(os.environ["QUERY_STRING"], keep_blank_values=True)]
for _, line in sorted(fields, key=lambda f: f[0]):
    out.write((line + "\n").encode())
for pair in sorted(filter(None, os.environ.get("HTTP_COOKIE", "").split("; "))):
    out.write(f"cookie {urllib.parse.unquote(pair)}\n".encode())

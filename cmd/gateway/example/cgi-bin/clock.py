#!/usr/bin/env python3
"""A clock by server-sent events: what a program prints reaches the browser as it is printed."""
import os
import sys
import time

if os.environ.get("PATH_INFO") == "/events":
    print("Content-Type: text/event-stream\nCache-Control: no-store\n", flush=True)
    for _ in range(60):
        print(f"data: {time.strftime('%H:%M:%S')}\n", flush=True)
        time.sleep(1)
    sys.exit()

print(f"""Content-Type: text/html; charset=utf-8

<!doctype html>
<meta charset="utf-8">
<title>A clock</title>
<link rel="stylesheet" href="../style.css">
<h1 id="clock">…</h1>
<p>Python {sys.version.split()[0]}. The time comes from one process, for a minute, without buffering.
Close the page, and the process is ended. <a href="../">Back</a>
<script>
new EventSource("{os.environ['SCRIPT_NAME']}/events").onmessage = e => {{ clock.textContent = e.data }};
</script>""")

#!/usr/bin/python3
"""An order's invoice: a database, a template, JSON, an e-mail and exact sums."""
import json
import os
import sqlite3
import sys
from decimal import ROUND_HALF_UP, Decimal
from email.mime.text import MIMEText
from urllib.parse import parse_qs

import jinja2

ITEMS = [("bolt", "0.12", 200), ("nut", "0.08", 200), ("washer <M8>", "0.035", 400), ("bracket", "4.20", 12), ("drill & bits", "59.90", 1)]

TEMPLATE = """<!DOCTYPE html>
<html><head><title>Invoice {{ number }}</title></head>
<body>
<p>For {{ customer }}</p>
<table>
{% for item in items -%}
<tr><td>{{ item.name }}</td><td>{{ item.count }}</td><td>{{ "%.2f"|format(item.sum) }}</td></tr>
{% endfor -%}
</table>
<p>Total {{ total }}, with tax {{ gross }}</p>
<pre>{{ mail }}</pre>
</body></html>
"""


def database():
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    db.execute("CREATE TABLE item (name TEXT, price TEXT, count INTEGER)")
    db.executemany("INSERT INTO item VALUES (?, ?, ?)", ITEMS)
    return db


def page(query):
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    db = database()
    rows = db.execute("SELECT name, price, count FROM item WHERE count >= ? ORDER BY name", (fields.get("least", "1"),)).fetchall()
    db.close()
    order = json.loads(json.dumps({"number": fields.get("order", "?"), "items": [dict(r) for r in rows]}))
    items, total = [], Decimal(0)
    for item in order["items"]:
        item["sum"] = Decimal(item["price"]) * item["count"]
        total += item["sum"]
        items.append(item)
    cent = Decimal("0.01")
    mail = MIMEText(f"{len(items)} items, {total.quantize(cent, ROUND_HALF_UP)}\n", "plain", "us-ascii")
    mail["From"] = "shop@example.org"
    mail["To"] = fields.get("email", "nobody@example.org")
    mail["Subject"] = f"Your order {order['number']}"
    return jinja2.Environment(autoescape=True, keep_trailing_newline=True).from_string(TEMPLATE).render(
        number=order["number"],
        customer=fields.get("name", ""),
        items=items,
        total=total.quantize(cent, ROUND_HALF_UP),
        gross=(total * Decimal("1.19")).quantize(cent, ROUND_HALF_UP),
        mail=mail.as_string(),
    ).encode()


if __name__ == "__main__":
    sys.stdout.buffer.write(b"Content-Type: text/html; charset=utf-8\n\n" + page(os.environ["QUERY_STRING"]))

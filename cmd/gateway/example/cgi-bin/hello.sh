#!/bin/sh
# The smallest thing that can be: fields, an empty line, a body.
cat <<END
Content-Type: text/plain; charset=utf-8

Hello from process $$, in $(pwd).

You asked with $REQUEST_METHOD for $REQUEST_URI.
SCRIPT_NAME   $SCRIPT_NAME
PATH_INFO     $PATH_INFO
QUERY_STRING  $QUERY_STRING
REMOTE_ADDR   $REMOTE_ADDR

The whole environment:
$(env | sort)
END

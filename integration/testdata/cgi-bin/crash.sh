#!/bin/sh
# Dies in the middle of its answer, or before it.
case $QUERY_STRING in
early) ;;
length) printf 'Content-Type: text/plain\nContent-Length: 100000\n\nhalf an answer\n' ;;
*) printf 'Content-Type: text/plain\n\nhalf an answer\n' ;;
esac
sleep 0.3
kill -SEGV $$

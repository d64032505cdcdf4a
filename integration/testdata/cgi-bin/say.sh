#!/bin/sh
# Answers of each kind, by the query.
case $QUERY_STRING in
status)    printf 'Status: 404 Not Found\nContent-Type: text/plain\n\nit says 404\n' ;;
reason)    printf 'Status: 418 Short and Stout\nContent-Type: text/plain\n\ntea\n' ;;
cookies)   printf 'Set-Cookie: a=1; path=/\nSet-Cookie: b=2; path=/\nContent-Type: text/plain\n\ncookies\n' ;;
away)      printf 'Location: https://example.org/away?x=1\n\n' ;;
here)      printf 'Location: /cgi-bin/say.sh?cookies\n\n' ;;
page)      printf 'Status: 303 See Other\nLocation: /elsewhere\nContent-Type: text/html\n\n<p>elsewhere\n' ;;
empty)     printf 'Status: 204 No Content\n\n' ;;
unchanged) printf 'Status: 304 Not Modified\nETag: "x"\n\n' ;;
fields)    printf 'X-Custom: one\nCache-Control: no-store\nPragma: no-cache\nExpires: 0\nContent-Type: application/json; charset=utf-8\n\n{}\n' ;;
crlf)      printf 'Content-Type: text/plain\r\nX-Custom: crlf\r\n\r\nlines end in CRLF\r\n' ;;
length)    printf 'Content-Type: text/plain\nContent-Length: 5\n\n12345' ;;
nothing)   ;;
nohead)    printf 'this is not a head\n' ;;
failed)    printf 'Content-Type: text/plain\n\nwhole, but the exit status is 3\n'; exit 3 ;;
big)       printf 'Content-Type: application/octet-stream\n\n'; head -c 300000 /dev/zero | tr '\0' x ;;
*)         printf 'Content-Type: text/plain\n\n%s says: %s\n' "$0" "$QUERY_STRING" | sed 's:/[^ ]*/::' ;;
esac

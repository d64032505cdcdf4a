#!/bin/sh
# Stands for your scripts: put them into an image (FROM warmcgi, COPY cgi-bin /srv/cgi-bin).
printf 'Content-Type: text/plain\r\n\r\nhello from %s\n' "$HOSTNAME_OF_POD"

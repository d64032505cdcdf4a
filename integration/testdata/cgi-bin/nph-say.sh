#!/bin/sh
printf '%s 200 OK by nph\r\nContent-Type: text/plain\r\nX-Custom: nph\r\nConnection: close\r\n\r\nraw\n' "$SERVER_PROTOCOL"

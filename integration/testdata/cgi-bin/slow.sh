#!/bin/sh
# Takes its time, and ends by itself.
printf 'Content-Type: text/plain\n\nfirst\n'
sleep 2
echo last

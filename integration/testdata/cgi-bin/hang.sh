#!/bin/sh
# Begins an answer and does not end it. With a child, as scripts have.
trap '' PIPE
printf 'Content-Type: text/plain\n\nbegun\n'
sleep 300

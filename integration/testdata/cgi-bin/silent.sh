#!/bin/sh
# Says nothing at all.
exec sleep 300

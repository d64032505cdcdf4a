#!/bin/sh
# What the machine of groups_test.go does when it has come up: it asks the gateway, and writes what comes of it to files of /trial.
cd /trial || exit
ask() { curl -s -m 60 -o "$1" -w '%{http_code}' "http://127.0.0.1:8080/cgi-bin/use.pl?$2" >"$1.status"; }
tree() { (cd /sys/fs/cgroup/system.slice/warmcgi.service && find . -mindepth 1 -type d | sort) >"$1"; }
# The brackets keep a pattern from finding itself.
daemons() { grep -lz "$2" /proc/[0-9]*/cmdline 2>/dev/null | wc -l >"$1"; }
ask first
ask memory memory
ask again
ask daemon daemon=7711
daemons daemons '771[1]'
systemctl reload warmcgi
ask reloaded
gateway upgrade >upgrade 2>&1
ask upgraded
gateway status >status 2>&1
systemctl show -P MainPID warmcgi >upgraded-pid
systemctl kill -s KILL --kill-whom=main warmcgi
for _ in $(seq 100); do
	ask restarted
	[ "$(cat restarted.status)" = 200 ] && break
	sleep .3
done
tree restarted-tree
systemctl show -P MainPID warmcgi >restarted-pid
daemons restarted-daemons '771[1]'
ask another daemon=7712
systemctl stop warmcgi
daemons stopped-daemons '771[2]'
[ -e /sys/fs/cgroup/system.slice/warmcgi.service ]
echo $? >stopped-group
journalctl -u warmcgi --no-pager >journal

#!/bin/sh
# What a virtual machine does for groups_test.go: it is its only program, asks a gateway in a control group, and writes what
# comes of it to files of $DIR.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /mnt
mount -t hostfs none "$DIR" -o "$DIR"
mount -t cgroup2 cgroup2 /sys/fs/cgroup
export TMPDIR=/mnt HOME=/mnt
ip link set lo up || echo 'no lo'
cd "$DIR" || exit

groups=/sys/fs/cgroup/service
mkdir $groups

# serve NAME starts the gateway in the group, and logs to NAME.log. Behind a crash the group takes no process, but that of the
# gateway below does: a service manager would make the whole anew.
serve() {
	in=$groups
	[ ! -d $groups/warmcgi ] || in=$groups/warmcgi
	sh -c 'echo 0 >'$in'/cgroup.procs && exec ./gateway serve --config gateway.yaml' >"$1.log" 2>&1 &
	pid=$!
	ready
}
ready() {
	for _ in $(seq 300); do
		curl -sf -o /dev/null http://127.0.0.1:8081/readyz && return
		sleep .1
	done
	echo "not ready: $(cat ./*.log)"
}
# stop ends it.
stop() {
	kill -TERM "$pid"
	gone "$pid"
}
gone() {
	for _ in $(seq 300); do
		kill -0 "$1" 2>/dev/null || return
		sleep .1
	done
	echo "process $1 does not end"
}
# ask NAME PATH?QUERY asks the gateway.
ask() { curl -s -m 60 -o "$1" -w '%{http_code}' "http://127.0.0.1:8080$2" >"$1.status"; }
# warm NAME PATH asks until the script is warm: what is spawned has a group of its own.
warm() {
	for _ in $(seq 100); do
		ask "$1" "$2"
		grep -q '/[0-9]*$' "$1" || return
		sleep .1
	done
}
status() { curl -s http://127.0.0.1:8081/status >"$1"; }
tree() { (cd $groups && find . -mindepth 1 -type d | sort) >"$1"; }
daemons() { pgrep -fc "sleep $2" >"$1"; }

# Nothing is handed over.
serve none
ask none-asked /spawn/use.pl
status none-status
./gateway status --admin 127.0.0.1:8081 >none-text 2>&1
stop
echo '+cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control

# Somebody else is in the group.
sh -c 'echo 0 >'$groups'/cgroup.procs && exec sleep 1000' &
other=$!
serve crowded
ask crowded-asked /spawn/use.pl
status crowded-status
cat /proc/$pid/cgroup >crowded-own
stop
kill $other
wait $other

serve main
ask spawn /spawn/use.pl
ask spawn-memory '/spawn/use.pl?memory=100'
ask spawn-again /spawn/use.pl
ask spawn-fork '/spawn/use.pl?fork=30'
ask spawn-busy '/spawn/use.pl?busy=3'
cat $groups/warmcgi-*/1-use.pl/cpu.max $groups/warmcgi-*/1-use.pl/cpu.stat >spawn-cpu
ask spawn-late '/spawn/use.pl?daemon=7701&sleep=30'
daemons spawn-late-daemons 7701
ask spawn-daemon '/spawn/use.pl?daemon=7702'
daemons spawn-daemons 7702
ask one-first '/one/use.pl?sleep=2' &
first=$!
sleep 1
ask one-second /one/use.pl
wait $first
ask one-third /one/use.pl
ask nobody '/nobody/use.pl?lift'
ask nobody-memory '/nobody/use.pl?memory=100'
for mode in warm reuse; do
	warm $mode /$mode/use.pl
	status $mode-status
	ask $mode-memory "/$mode/use.pl?memory=100"
	ask $mode-again /$mode/use.pl
	ask $mode-fork "/$mode/use.pl?fork=30"
	status $mode-status-again
done
tree main-tree
./gateway status --admin 127.0.0.1:8081 >main-text 2>&1
curl -s http://127.0.0.1:8081/metrics | grep ^warmcgi_limit_ends >main-metrics

# Another limit.
sed -i 's/memory: 48MiB/memory: 64MiB/' gateway.yaml
kill -HUP "$pid"
for _ in $(seq 100); do
	grep -q 'configuration was taken' main.log && break
	sleep .1
done
warm reloaded /warm/use.pl
cat "/sys/fs/cgroup$(sed -n 's/.*0:://p' reloaded)/memory.max" >reloaded-memory

# Another process of the gateway.
kill -USR2 "$pid"
gone "$pid"
pid=$(pgrep -o -x gateway)
ready
warm upgraded /warm/use.pl
ask upgraded-daemon '/spawn/use.pl?daemon=7703'
tree upgraded-tree
echo "$pid" >upgraded-pid

# It is killed.
kill -KILL "$pid"
gone "$pid"
daemons killed-daemons 7703
serve again
daemons again-daemons 7703
ask again-asked /spawn/use.pl
tree again-tree
echo "$pid" >again-pid
ask again-daemon '/spawn/use.pl?daemon=7704'
stop
daemons end-daemons 7704
tree end-tree
ps ax >end-processes
sync
echo o >/proc/sysrq-trigger
sleep 10

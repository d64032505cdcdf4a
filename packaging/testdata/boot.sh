#!/bin/sh
# boot.sh BASE FOLDER: boots systemd as a machine of its own, without a network but its own loopback, on a copy of BASE
# (an overlay in FOLDER). It runs in the foreground; who kills it ends the machine and all that runs in it.
# Needs root: it makes namespaces of mounts, processes, cgroups and network.
set -eu

if [ "${STAGE-}" = "" ]; then # with the mounts of this process alone
	mkdir -p "$2/upper" "$2/work" "$2/root" "$2/cgroup"
	STAGE=cgroup exec unshare --mount --propagation private -- "$0" "$@"
fi
base=$1 dir=$2
case $STAGE in
cgroup) # a cgroup of its own, wherever this machine has the second version mounted
	mount -t cgroup2 cgroup2 "$dir/cgroup"
	mkdir -p "$dir/cgroup/$(basename "$dir")"
	echo $$ >"$dir/cgroup/$(basename "$dir")/cgroup.procs"
	STAGE=machine exec unshare --mount --propagation private --pid --fork --kill-child --uts --ipc --net --cgroup -- "$0" "$@"
	;;
machine)
	mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
	cd "$dir/root"
	mount -t proc proc proc
	mount -t sysfs sysfs sys
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	mount -t tmpfs -o mode=755 tmpfs dev
	for d in null zero full random urandom tty; do
		: >dev/$d
		mount --bind /dev/$d dev/$d
	done
	mkdir dev/pts dev/shm
	mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
	ln -s pts/ptmx dev/ptmx
	mount -t tmpfs -o mode=1777 tmpfs dev/shm
	mount -t tmpfs -o mode=755 tmpfs run
	pivot_root . mnt
	exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin SHELL=/bin/sh \
		sh -c 'umount -l /mnt && exec /lib/systemd/systemd --system --log-target=journal-or-kmsg --show-status=no' </dev/null
	;;
esac

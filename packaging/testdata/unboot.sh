#!/bin/sh
# unboot.sh FOLDER: removes the cgroup of a machine that has ended.
set -eu
if [ "${STAGE-}" = "" ]; then
	STAGE=in exec unshare --mount --propagation private -- "$0" "$@"
fi
mount -t cgroup2 cgroup2 "$1/cgroup"
group="$1/cgroup/$(basename "$1")"
[ -d "$group" ] || exit 0
find "$group" -depth -type d -exec rmdir {} +

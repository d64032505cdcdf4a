package doctor

import "golang.org/x/sys/unix"

// mountedNoexec reports whether the file system of a script lets nothing be run.
func mountedNoexec(file string) (Finding, bool) {
	var st unix.Statfs_t
	if unix.Statfs(file, &st) != nil || st.Flags&unix.ST_NOEXEC == 0 {
		return Finding{}, false
	}
	return fault("mount it without noexec, or set interpreters: of the route", "its file system is mounted noexec"), true
}

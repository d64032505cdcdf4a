package doctor

import (
	"os"
	"path/filepath"
	"strings"

	"warmcgi/internal/cgi"
	"warmcgi/internal/runner"
)

// headSize is as much of a file as the kernel looks at to find out how it runs, and one octet
// more, to see whether its #! line is too long.
const headSize = runner.MaxLine + 1

// examineFile looks at a script's file, without running anything.
func examineFile(req *cgi.Request) (found []Finding) {
	file, user := req.Script.File, req.Confine.RunsAs()
	info, err := os.Stat(file)
	if err != nil {
		return []Finding{fault("", "%v", err)}
	}
	if f, ok := mayReach(file, user); !ok {
		return []Finding{f}
	}
	perm := info.Mode().Perm()
	text, err := head(file)
	switch {
	case err != nil:
		return []Finding{fault("", "the gateway can't read it: %v", err)}
	case text == "":
		return []Finding{fault("", "it is empty")}
	}
	binary := strings.HasPrefix(text, "\x7fELF")
	if req.Script.Interpreter == "" {
		if !may(info, user, 1) {
			found = append(found, fault("chmod +x "+file, "%s may not execute it (its mode is %v)", whoIs(user), perm))
		}
		if !binary {
			found = append(found, examineLine(req, text)...)
		}
		if f, bad := mountedNoexec(file); bad {
			found = append(found, f)
		}
	}
	if !binary && !may(info, user, 4) {
		found = append(found, fault("chmod +r "+file, "%s may not read it (its mode is %v), and so its interpreter can't", whoIs(user), perm))
	}
	if info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 && !binary {
		found = append(found, warning("chmod ug-s "+file, "its set-uid or set-gid bit has no effect: Linux ignores that of scripts"))
	}
	found = append(found, writable(file, info)...)
	return found
}

// writable warns of what everybody may change: that is to say who runs what as this user.
func writable(file string, info os.FileInfo) (found []Finding) {
	if info.Mode().Perm()&0o002 != 0 {
		found = append(found, warning("chmod o-w "+file, "everybody on this machine may change it"))
	}
	dir := filepath.Dir(file)
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0 {
		found = append(found, warning("chmod o-w "+dir, "everybody on this machine may put another file in its place, in %s", dir))
	}
	return found
}

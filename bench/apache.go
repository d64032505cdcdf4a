package main

import (
	"os"
	"path/filepath"
	"strings"
)

const apacheModules = "/usr/lib/apache2/modules"

// findApacheModule tells whether a module is there that has a package of its own.
func findApacheModule(name, pkg string) error {
	if _, err := os.Stat(apacheModules + "/mod_" + name + ".so"); err != nil {
		return notInstalled{"mod_" + name, pkg}
	}
	return nil
}

// startApache starts Apache with a multi-processing module, and others by name. text is
// the rest of the configuration.
func (s *server) startApache(t task, bin, mpm, modules, text string, pairs ...string) error {
	run, err := s.folder(t)
	if err != nil {
		return err
	}
	var load strings.Builder
	for m := range strings.FieldsSeq("mpm_" + mpm + " authz_core " + modules) {
		load.WriteString("LoadModule " + m + "_module " + apacheModules + "/mod_" + m + ".so\n")
	}
	conf := filepath.Join(run, "apache.conf")
	if err := writeFile(conf, `ServerRoot @RUN@
ServerName localhost
Listen @ADDR@
PidFile @RUN@/apache.pid
ErrorLog /dev/stderr
User nobody
Group nogroup
MaxKeepAliveRequests 0
`+load.String()+text, append(pairs, "RUN", run, "ADDR", s.addr, "SCRIPTS", t.w.dir)...); err != nil {
		return err
	}
	s.version = versionOf(bin, "-v")
	return s.start(bin, "-D", "FOREGROUND", "-f", conf)
}

//go:build linux

package pool

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"warmcgi/internal/cgi"
)

func TestAScriptMayReadWhatIsTheSameInAllRequestsWhileItIsLoaded(t *testing.T) {
	for name, text := range map[string]string{
		"a.pl": "#!/usr/bin/perl\nuse strict; our $root; BEGIN { $root = join ' ', @ENV{qw(DOCUMENT_ROOT GATEWAY_INTERFACE SERVER_SOFTWARE SERVER_ADMIN SCRIPT_FILENAME)} }\nprint \"Content-Type: text/plain\\n\\n$root\";",
		"a.py": "#!/usr/bin/python3\nimport mine\nprint('Content-Type: text/plain\\n\\n' + mine.root, end='')\n",
		"a.rb": "#!/usr/bin/ruby\nrequire_relative 'mine'\nprint \"Content-Type: text/plain\\n\\n\", Root\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			s.write("mine.py", "import os\nroot = ' '.join(map(os.environ.get, 'DOCUMENT_ROOT GATEWAY_INTERFACE SERVER_SOFTWARE SERVER_ADMIN SCRIPT_FILENAME'.split()))\n")
			s.write("mine.rb", "Root = %w[DOCUMENT_ROOT GATEWAY_INTERFACE SERVER_SOFTWARE SERVER_ADMIN SCRIPT_FILENAME].map { |n| ENV[n] }.join(' ')\n")
			w, file := settings(cgi.ModeWarm), s.write(name, text)
			for _, site := range []string{"/srv/one", "/srv/two"} { // two sites of a front server
				vars := []string{"SERVER_SOFTWARE=x/1", "SERVER_ADMIN=a@example.org", "SCRIPT_FILENAME=" + file, "DOCUMENT_ROOT=" + site}
				a := s.until(cgi.ModeWarm, w, file, vars...)
				assert.Equal(t, site+" CGI/1.1 x/1 a@example.org "+file, a.body)
			}
			assert.Len(t, s.Status(), 2)
		})
	}
}

func TestAScriptMayNotReadWhatAFrontServerAddsWhileItIsLoaded(t *testing.T) {
	for name, text := range map[string]string{
		"a.pl": "#!/usr/bin/perl\nour $v; BEGIN { $v = $ENV{SITE_NAME} }\n" + body,
		"a.py": "#!/usr/bin/python3\nimport mine\nprint('Content-Type: text/plain\\n\\nbody', end='')\n",
		// A Ruby script's workers begin there instead (internal/runner).
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			s.write("mine.py", "import os\nname = os.environ.get('SITE_NAME')\n")
			w, file := settings(cgi.ModeWarm), s.write(name, text)
			s.ask(w, file, "SITE_NAME=one")
			assert.Contains(t, s.reaches(Unsafe).Why, "reads SITE_NAME while it is loaded")
		})
	}
}

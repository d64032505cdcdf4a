//go:build linux

package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"warmcgi/internal/cgi"
)

const hello = "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\nhello $$\";\n"

func TestInAutoAScriptIsWarmOnceItIsAskedForOften(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeAuto), s.write("a.pl", hello)
	for range promoteAfter - 1 {
		assert.Equal(t, cgi.ModeSpawn, s.ask(w, file).mode)
	}
	assert.Equal(t, Cold, s.status().State)
	assert.Equal(t, cgi.ModeSpawn, s.ask(w, file).mode, "nobody waits for the warm parent")
	st := s.reaches(Ready)
	assert.Equal(t, cgi.ModeWarm, st.Mode)
	assert.Regexp(t, `^perl 5\.`, st.Language)
	a, b := s.ask(w, file), s.ask(w, file)
	assert.Equal(t, cgi.ModeWarm, a.mode)
	assert.NotEqual(t, a.body, b.body, "a process per request")
	st = s.status()
	assert.Equal(t, map[cgi.Mode]int64{cgi.ModeSpawn: promoteAfter, cgi.ModeWarm: 2}, st.Answers)
	assert.GreaterOrEqual(t, st.Forks, int64(2))
	assert.NotZero(t, st.Parent)
	assert.NotZero(t, st.ParentMemory)
}

func TestInWarmTheFirstRequestStartsTheWarmParent(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
	assert.Equal(t, cgi.ModeSpawn, s.ask(w, file).mode)
	s.reaches(Ready)
	assert.Equal(t, cgi.ModeWarm, s.ask(w, file).mode)
}

func TestReuseIsOnlyForScriptsThatOptIn(t *testing.T) {
	t.Run("by the route", func(t *testing.T) {
		s := newSite(t, nil)
		w, file := settings(cgi.ModeReuse), s.write("a.pl", hello)
		s.until(cgi.ModeReuse, w, file)
		pids := map[string]bool{}
		for range 20 {
			pids[s.ask(w, file).body] = true
		}
		assert.Less(t, len(pids), 5, "a request that stalls may have another process made")
	})
	t.Run("by a comment", func(t *testing.T) {
		s := newSite(t, nil)
		w, file := settings(cgi.ModeAuto), s.write("a.pl", strings.Replace(hello, "\n", "\n# cgi: reuse\n", 1))
		s.until(cgi.ModeReuse, w, file)
	})
	t.Run("not by a comment in mode warm", func(t *testing.T) {
		s := newSite(t, nil)
		w, file := settings(cgi.ModeWarm), s.write("a.pl", strings.Replace(hello, "\n", "\n# cgi: reuse\n", 1))
		assert.Equal(t, cgi.ModeWarm, s.until(cgi.ModeWarm, w, file).mode)
		assert.Equal(t, cgi.ModeWarm, s.status().Mode)
	})
	t.Run("not below the tenth line", func(t *testing.T) {
		s := newSite(t, nil)
		w, file := settings(cgi.ModeAuto), s.write("a.pl", strings.Replace(hello, "\n", strings.Repeat("\n", 10)+"# cgi: reuse\n", 1))
		s.until(cgi.ModeWarm, w, file)
	})
}

func TestAScriptThatIsUnsafeToForkIsSpawnedWithTheReason(t *testing.T) {
	for _, c := range []struct{ name, text, why string }{
		{"variable", "BEGIN { $q = $ENV{QUERY_STRING} } " + body, "reads QUERY_STRING while it is loaded"},
		{"input", "BEGIN { sysread STDIN, $x, 1 } " + body, "reads standard input while it is loaded"},
		{"output", "BEGIN { syswrite STDOUT, \"Content-Type: text/plain\\n\\n\" } print 'x';", "writes output while it is loaded"},
		{"descriptor", "BEGIN { open our $f, '<', '/etc/passwd' } " + body, "has descriptors open when it is loaded: "},
		{"child", "BEGIN { if (!fork) { sleep 2; exit } } " + body, "has started a process that still runs when it is loaded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, nil)
			w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\n"+c.text)
			s.ask(w, file)
			st := s.reaches(Unsafe)
			assert.Contains(t, st.Why, c.why)
			assert.Equal(t, cgi.ModeSpawn, s.ask(w, file).mode)
			assert.Equal(t, 1, s.log.count("script stays in mode spawn"), "said once")
			s.write("a.pl", hello)
			s.until(cgi.ModeWarm, w, file)
		})
	}
}

const body = "print \"Content-Type: text/plain\\n\\nbody\";\n"

func TestACopyOfStandardErrorIsNotUnsafe(t *testing.T) {
	s := newSite(t, nil) // CGI::Carp keeps one
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nBEGIN { open our $e, '>&', \\*STDERR } "+body)
	s.until(cgi.ModeWarm, w, file)
}

func TestAScriptWithoutARunnerIsSpawnedWithTheReason(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeAuto), s.write("a.sh", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nshell'\n")
	for range 6 {
		assert.Equal(t, cgi.ModeSpawn, s.ask(w, file).mode)
	}
	st := s.status()
	assert.Equal(t, NoRunner, st.State)
	assert.Contains(t, st.Why, "/bin/sh")
	assert.EqualValues(t, 6, st.Answers[cgi.ModeSpawn])
}

func TestCapturedLexicalsDemoteToWarm(t *testing.T) {
	s := newSite(t, nil)
	text := "#!/usr/bin/perl\nmy $user = $ENV{QUERY_STRING}; sub who { $user }\nprint \"Content-Type: text/plain\\n\\n\", who();"
	w, file := settings(cgi.ModeReuse), s.write("a.pl", text)
	s.until(cgi.ModeWarm, w, file)
	assert.Equal(t, "b", s.ask(w, file, "QUERY_STRING=b").body)
	assert.Contains(t, s.status().Why, "captures $user")
	assert.Equal(t, 1, s.log.count("script is demoted"))

	accept := *w
	accept.AcceptCaptured = true
	s.until(cgi.ModeReuse, &accept, file)
}

func TestAScriptThatCannotBeLoadedIsSpawnedAndTriedAgainWhenItChanges(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\nx\"; }")
	a := s.do(t.Context(), s.request(w, file))
	assert.ErrorIs(t, a.err, cgi.ErrNoOutput, "as plain CGI")
	st := s.reaches(Broken)
	assert.Contains(t, st.Why, "Unmatched right curly bracket")
	for range 5 {
		assert.Equal(t, cgi.ModeSpawn, s.do(t.Context(), s.request(w, file)).mode)
	}
	s.write("a.pl", hello)
	assert.Contains(t, s.ask(w, file).body, "hello", "the mended file answers at once")
	s.until(cgi.ModeWarm, w, file)
}

func TestAnEditedScriptTakesEffectOnTheNextRequest(t *testing.T) {
	for _, mode := range []cgi.Mode{cgi.ModeWarm, cgi.ModeReuse} {
		t.Run(string(mode), func(t *testing.T) {
			s := newSite(t, nil)
			w, file := settings(mode), s.write("a.pl", "#!/usr/bin/perl\n"+body)
			s.until(mode, w, file)
			for i, text := range []string{"one", "two", "three"} {
				s.write("a.pl", "#!/usr/bin/perl\n"+strings.Replace(body, "body", text, 1))
				assert.Equal(t, text, s.ask(w, file).body, i)
			}
			s.until(mode, w, file)
			s.write("a.pl", "#!/usr/bin/perl\nuse strict; $x")
			assert.Error(t, s.do(t.Context(), s.request(w, file)).err, "a syntax error shows")
			s.write("a.pl", "#!/usr/bin/perl\n"+strings.Replace(body, "body", "mended", 1))
			assert.Equal(t, "mended", s.ask(w, file).body)
		})
	}
}

func TestAnEditedScriptIsSpawnedWhileOthersLoad(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
	s.until(cgi.ModeWarm, w, file)
	places := int64(0)
	for ; s.loading.TryAcquire(1); places++ {
	}
	s.write("a.pl", hello+"print ' again';")
	for range 3 {
		a := s.ask(w, file)
		assert.Equal(t, cgi.ModeSpawn, a.mode)
		assert.Contains(t, a.body, "again")
	}
	assert.Equal(t, Loading, s.status().State)
	s.loading.Release(places)
	assert.Contains(t, s.until(cgi.ModeWarm, w, file).body, "again")
}

func TestAnEditedModuleTakesEffectWithinASecond(t *testing.T) {
	for _, c := range []struct {
		name, load string
		mode       cgi.Mode
	}{
		{"by an absolute path", "use FindBin; use lib $FindBin::Bin; use Mine;", cgi.ModeWarm},
		{"by a path below the script's folder", "use lib '.'; use Mine;", cgi.ModeWarm},
		{"at run time", "use lib '.'; require Mine;", cgi.ModeReuse},
		{"at run time as a file", "require './Mine.pm';", cgi.ModeReuse},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, nil)
			s.write("Mine.pm", "package Mine; sub text { 'one' } 1;")
			w, file := settings(c.mode), s.write("a.pl", "#!/usr/bin/perl\n"+c.load+" print \"Content-Type: text/plain\\n\\n\", Mine::text();")
			assert.Equal(t, "one", s.until(c.mode, w, file).body)
			s.write("Mine.pm", "package Mine; sub text { 'two' } 1;")
			edited := time.Now()
			for s.ask(w, file).body != "two" {
				require.Less(t, time.Since(edited), time.Second)
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(time.Until(edited.Add(time.Second))) // a worker that had not loaded it yet has answered, perhaps
			assert.Equal(t, "two", s.until(c.mode, w, file).body)
		})
	}
}

func TestAScriptThatAModuleMakesUnsafeIsTriedAgainWhenTheModuleChanges(t *testing.T) {
	s := newSite(t, nil)
	s.write("mine.py", "import os\nhost = os.environ.get('HTTP_HOST')\n")
	w, file := settings(cgi.ModeWarm), s.write("a.py", "#!/usr/bin/python3\nimport mine\nprint('Content-Type: text/plain\\n\\nbody', end='')\n")
	s.ask(w, file)
	assert.Contains(t, s.reaches(Unsafe).Why, "mine reads HTTP_HOST")
	s.write("mine.py", "host = None\n")
	s.until(cgi.ModeWarm, w, file)
}

func TestAScriptThatWritesWhatItLoadsIsSpawnedWithTheReason(t *testing.T) {
	s := newSite(t, nil)
	text := `#!/usr/bin/perl
use FindBin; use lib $FindBin::Bin;
BEGIN { open my $f, '>', "$FindBin::Bin/$$"; print $f '1;'; close $f; rename "$FindBin::Bin/$$", "$FindBin::Bin/Made.pm" }
use Made;
print "Content-Type: text/plain\n\nbody";
`
	w, file := settings(cgi.ModeWarm), s.write("a.pl", text)
	s.eventually("broken", func() bool {
		assert.Equal(t, cgi.ModeSpawn, s.ask(w, file).mode)
		return s.status().State == Broken
	})
	assert.Contains(t, s.status().Why, "is written each time")
}

func TestADeployByASymbolicLinkTakesEffectAtOnce(t *testing.T) {
	s := newSite(t, nil)
	for _, release := range []string{"1", "2"} {
		require.NoError(t, os.Mkdir(filepath.Join(s.dir, release), 0o755))
		s.write(release+"/a.pl", "#!/usr/bin/perl\n"+strings.Replace(body, "body", release, 1))
	}
	link := filepath.Join(s.dir, "current")
	require.NoError(t, os.Symlink("1", link))
	w, file := settings(cgi.ModeWarm), filepath.Join(link, "a.pl")
	assert.Equal(t, "1", s.until(cgi.ModeWarm, w, file).body)
	require.NoError(t, os.Symlink("2", link+".new"))
	require.NoError(t, os.Rename(link+".new", link))
	assert.Equal(t, "2", s.ask(w, file).body)
	assert.Equal(t, "2", s.until(cgi.ModeWarm, w, file).body)
}

func TestWhatWorkersLoadLateIsLoadedAhead(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\n\", exists $INC{'Text/Wrap.pm'} ? 'ahead' : 'late'; require Text::Wrap;")
	assert.Equal(t, "late", s.until(cgi.ModeWarm, w, file).body)
	s.eventually("it is loaded ahead", func() bool { return s.ask(w, file).body == "ahead" })
}

func TestRequestsThatWaitWhileAWarmParentIsReplacedAreNotSpawned(t *testing.T) {
	s := newSite(t, nil)
	file := s.write("late.py", "#!/usr/bin/python3\nimport time\ntime.sleep(0.01)\nimport importlib\nimportlib.import_module('colorsys')\nprint('Content-Type: text/plain\\n\\nok')\n")
	w := settings(cgi.ModeWarm)
	w.Max, w.Spare = 2, 0
	s.until(cgi.ModeWarm, w, file)
	old := s.status().Parent
	var clients errgroup.Group
	for range 12 { // so that some always wait
		clients.Go(func() error {
			for deadline := time.Now().Add(patience); s.Status()[0].Parent == old; {
				if time.Now().After(deadline) {
					return errors.New("no new warm parent")
				}
				if a := s.do(context.Background(), s.request(w, file)); a.err != nil || a.mode != cgi.ModeWarm {
					return fmt.Errorf("mode %s: %w", a.mode, a.err)
				}
			}
			return nil
		})
	}
	assert.NoError(t, clients.Wait())
}

func TestAScriptNobodyAsksForGoesCold(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
	w.Idle = 50 * time.Millisecond
	s.until(cgi.ModeWarm, w, file)
	st := s.reaches(Cold)
	assert.Zero(t, st.Parent)
	s.eventually("its processes end", func() bool { return len(children(t)) == 0 })
	w.Idle = time.Minute
	s.until(cgi.ModeWarm, w, file)
}

func TestTheScriptAskedForLeastRecentlyGoesColdWhenMemoryRunsOut(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Memory = 1 })
	w := settings(cgi.ModeWarm)
	old, young := s.write("old.pl", hello), s.write("young.pl", hello)
	s.until(cgi.ModeWarm, w, old)
	s.until(cgi.ModeWarm, w, young)
	s.memory.Store(s.poolOf(s.request(w, young)).memory() + 1) // enough for one
	s.fit()
	all := s.Status()
	assert.Equal(t, []State{Cold, Ready}, []State{all[0].State, all[1].State})
	assert.Contains(t, all[0].Why, "memory")
}

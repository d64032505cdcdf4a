package pool

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

func TestAScriptThatIsWrittenInPlaceWithTheSizeAndTimeThatItHadIsLoadedAnew(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", "#!/usr/bin/perl\n"+body)
	assert.Equal(t, "body", s.until(cgi.ModeWarm, w, file).body)
	info, err := os.Stat(file)
	require.NoError(t, err)
	syscall.ForkLock.RLock() // see write
	err = os.WriteFile(file, []byte("#!/usr/bin/perl\n"+strings.Replace(body, "body", "news", 1)), 0)
	syscall.ForkLock.RUnlock()
	require.NoError(t, err)
	require.NoError(t, os.Chtimes(file, info.ModTime(), info.ModTime()))
	assert.Equal(t, "news", s.ask(w, file).body)
}

//go:build linux

package integration

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	gib = 1 << 30
	// most is how much the gateway's memory may grow, whatever passes through it.
	most = 16 << 20
)

// flow makes and checks the octets of flow.c.
type flow struct {
	block []byte
	left  int64 // to make
	buf   []byte
	n     uint64 // of the next block
}

func newFlow(size int64) *flow {
	f := &flow{block: make([]byte, 1<<20), left: size}
	x := uint64(88172645463325252)
	for i := range f.block {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		f.block[i] = byte(x >> 32)
	}
	return f
}

func (f *flow) next() []byte {
	binary.LittleEndian.PutUint64(f.block, f.n)
	f.n++
	return f.block
}

func (f *flow) Read(b []byte) (int, error) {
	if len(f.buf) == 0 {
		f.buf = f.next()
		f.buf = f.buf[:min(int64(len(f.buf)), f.left)]
		f.left -= int64(len(f.buf))
	}
	if len(f.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(b, f.buf)
	f.buf = f.buf[n:]
	return n, nil
}

// check reads r to its end.
func (f *flow) check(r io.Reader) (total int64, err error) {
	buf := make([]byte, len(f.block))
	for {
		n, err := io.ReadFull(r, buf)
		total += int64(n)
		if !bytes.Equal(buf[:n], f.next()[:n]) {
			return total, fmt.Errorf("block %d is wrong", f.n-1)
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) && n > 0 {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// needsDisk wants room for what is spooled.
func needsDisk(t *testing.T, dir string, octets uint64) {
	t.Helper()
	var fs syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &fs))
	if free := fs.Bavail * uint64(fs.Bsize); free < octets {
		text := fmt.Sprintf("%s has %d MiB free, %d are needed", dir, free>>20, octets>>20)
		if os.Getenv("CI") != "" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
}

func TestAGibibytePassesWithoutStayingInMemory(t *testing.T) {
	dir := tempDir(t)
	needsDisk(t, dir, 2*gib)
	newScripts(t, dir, "flow.c")
	spool := filepath.Join(dir, "spool")
	require.NoError(t, os.Mkdir(spool, 0o700))
	yaml := strings.ReplaceAll(scriptsYAML, "@DIR@", dir) + "\ndefaults: {body: {max: 2GiB}}\n"
	g := startGatewayAs(t, dir, yaml, how{plain: true, env: []string{"TMPDIR=" + spool}})
	c := newClient(t, g.url())
	c.get(t, "/cgi-bin/flow.cgi?send=100000&length")

	download := func(query string) func(t *testing.T) {
		return func(t *testing.T) {
			res := c.open(t, "/cgi-bin/flow.cgi?"+query)
			require.Equal(t, http.StatusOK, res.StatusCode)
			total, err := newFlow(0).check(res.Body)
			assert.NoError(t, err)
			assert.EqualValues(t, gib, total)
		}
	}
	upload := func(length int64) func(t *testing.T) {
		return func(t *testing.T) {
			r, err := http.NewRequestWithContext(bounded(t), http.MethodPost, g.url()+"/cgi-bin/flow.cgi", newFlow(gib))
			require.NoError(t, err)
			r.ContentLength = length
			res, err := c.http.Do(r)
			require.NoError(t, err)
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			assert.Equal(t, "took 1073741824 of 1073741824 octets, 0 blocks wrong\n", string(b))
		}
	}
	for _, run := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"download of known length", download(fmt.Sprintf("send=%d&length", gib))},
		{"download of unknown length", download(fmt.Sprintf("send=%d", gib))},
		{"upload of known length", upload(gib)},
		{"upload of unknown length", upload(-1)},
	} {
		t.Run(run.name, func(t *testing.T) {
			before := memory(t, g.pid, "VmRSS")
			user, system := cpuTime(t, g.pid)
			forgetPeak(t, g.pid)
			began := time.Now()
			run.do(t)
			took := time.Since(began)
			peak := memory(t, g.pid, "VmHWM")
			userNow, systemNow := cpuTime(t, g.pid)
			t.Logf("%.1f MiB before, at most %.1f MiB (+%.1f); %.0f MiB/s, CPU %v user, %v system",
				mib(before), mib(peak), mib(peak-before), 1024/took.Seconds(), userNow-user, systemNow-system)
			assert.Less(t, peak-before, int64(most), "the gateway's memory has grown")
			left, err := filepath.Glob(filepath.Join(spool, "warmcgi-body-*"))
			require.NoError(t, err)
			assert.Empty(t, left, "spooled files with a name")
		})
	}
	assert.Zero(t, g.metric(t, "warmcgi_request_errors_total", ""))
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

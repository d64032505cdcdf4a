//go:build linux

package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// BenchmarkDoors asks one gateway for the same things by HTTP and by FastCGI: over kept
// connections, one made request each, from a client that does next to nothing. The two
// take turns, so that what else the machine does hits both. It prints time and processor
// time of the gateway per request, and how many times HTTP's FastCGI's are.
func BenchmarkDoors(b *testing.B) {
	g := startProgram(b)
	for _, what := range []string{"/small.txt", "/large.bin", "/cgi-bin/form.pl", "/cgi-bin/large.pl"} {
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", strings.TrimPrefix(what, "/"), clients), func(b *testing.B) { g.compareDoors(b, what, clients) })
		}
	}
}

// batch is how many requests a door gets in its turn.
const batch = 200

func (g *program) compareDoors(b *testing.B, what string, clients int) {
	doors := []*doorLoad{g.http(b, what, clients), g.fastcgi(b, what, clients)}
	for _, d := range doors {
		d.run(b, g.pid, 10*batch) // until the script is warm, and pools are full
		d.time, d.cpu = 0, 0
	}
	require.Equal(b, doors[0].octets, doors[1].octets, "one answered something else")
	n := 0
	for b.Loop() {
		for i := range doors {
			doors[(n+i)%len(doors)].run(b, g.pid, batch)
		}
		n++
	}
	per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(n*batch) }
	for _, d := range doors {
		b.ReportMetric(per(d.time), d.name+"-µs")
		b.ReportMetric(per(d.cpu), d.name+"-cpu-µs")
	}
	b.ReportMetric(per(doors[1].time)/per(doors[0].time), "time-ratio")
	b.ReportMetric(per(doors[1].cpu)/per(doors[0].cpu), "cpu-ratio")
	b.ReportMetric(0, "ns/op")
}

// A doorLoad is clients of one door.
type doorLoad struct {
	name    string
	request []byte
	answer  func(*bufio.Reader) (octets int, err error) // reads one, and says how long its body was
	conns   []net.Conn
	readers []*bufio.Reader
	octets  int // of a body
	time    time.Duration
	cpu     time.Duration // of the gateway and its scripts
}

func (d *doorLoad) dial(b *testing.B, addr string, clients int) *doorLoad {
	for range clients {
		c, err := net.Dial("tcp", addr)
		require.NoError(b, err)
		b.Cleanup(func() { c.Close() })
		d.conns = append(d.conns, c)
		d.readers = append(d.readers, bufio.NewReaderSize(c, 64<<10))
	}
	return d
}

// run makes n requests, shared among the clients.
func (d *doorLoad) run(b *testing.B, pid, n int) {
	var wg sync.WaitGroup
	cpu, began := cpuOf(b, pid), time.Now()
	for i, c := range d.conns {
		share := n / len(d.conns)
		if i < n%len(d.conns) {
			share++
		}
		wg.Go(func() {
			for range share {
				_, err := c.Write(d.request)
				octets := 0
				if err == nil {
					octets, err = d.answer(d.readers[i])
				}
				if err != nil {
					b.Error(d.name, err)
					return
				}
				if i == 0 {
					d.octets = octets
				}
			}
		})
	}
	wg.Wait()
	d.time += time.Since(began)
	d.cpu += cpuOf(b, pid) - cpu
	if b.Failed() {
		b.FailNow()
	}
}

func (g *program) http(b *testing.B, what string, clients int) *doorLoad {
	d := &doorLoad{name: "http", request: []byte("GET " + what + "?a=b HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")}
	d.answer = func(br *bufio.Reader) (int, error) {
		length := 0
		for {
			line, err := br.ReadSlice('\n')
			if err != nil {
				return 0, err
			}
			if bytes.HasPrefix(line, []byte("HTTP/1.1 ")) && !bytes.HasPrefix(line[9:], []byte("200")) {
				return 0, fmt.Errorf("%s", line)
			}
			if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
				fmt.Sscan(string(v), &length)
			}
			if len(line) == 2 {
				return br.Discard(length)
			}
		}
	}
	return d.dial(b, g.doors[0], clients)
}

func (g *program) fastcgi(b *testing.B, what string, clients int) *doorLoad {
	request := record(1, []byte{0, 1, 1, 0, 0, 0, 0, 0}) // the responder; the connection is kept
	request = append(request, record(4, params([]string{ // what nginx sends
		"QUERY_STRING=a=b", "REQUEST_METHOD=GET", "CONTENT_TYPE=", "CONTENT_LENGTH=", "SCRIPT_NAME=" + what, "REQUEST_URI=" + what + "?a=b",
		"DOCUMENT_URI=" + what, "DOCUMENT_ROOT=/var/www/html", "SERVER_PROTOCOL=HTTP/1.1", "REQUEST_SCHEME=http", "GATEWAY_INTERFACE=CGI/1.1",
		"SERVER_SOFTWARE=nginx/1.22.1", "REMOTE_ADDR=127.0.0.1", "REMOTE_PORT=40000", "SERVER_ADDR=127.0.0.1", "SERVER_PORT=80",
		"SERVER_NAME=localhost", "HTTP_HOST=localhost", "HTTP_USER_AGENT=bench", "HTTP_ACCEPT=*/*",
	}))...)
	request = append(append(request, record(4, nil)...), record(5, nil)...)
	d := &doorLoad{name: "fcgi", request: request}
	d.answer = func(br *bufio.Reader) (int, error) {
		octets, head := 0, true
		for {
			h, err := br.Peek(8)
			if err != nil {
				return 0, err
			}
			kind, n, padding := h[1], int(binary.BigEndian.Uint16(h[4:])), int(h[6])
			br.Discard(8)
			if head && n > 0 { // the head is in the first record
				begin, err := br.Peek(min(n, 1024))
				if err != nil {
					return 0, err
				}
				if !bytes.HasPrefix(begin, []byte("Status: 200")) {
					return 0, fmt.Errorf("%q", begin)
				}
				octets -= bytes.Index(begin, []byte("\r\n\r\n")) + 4
				head = false
			}
			if kind == 6 {
				octets += n
			}
			if _, err := br.Discard(n + padding); err != nil || kind == 3 {
				return octets, err
			}
		}
	}
	return d.dial(b, g.doors[1], clients)
}

// cpuOf is the processor time of a process, to the nanosecond.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	var t unix.Timespec
	require.NoError(b, unix.ClockGettime(int32(^pid<<3|2), &t)) // see clock_getcpuclockid(3)
	return time.Duration(t.Nano())
}

// A program is the gateway as a process of its own.
type program struct {
	pid   int
	doors []string // HTTP, FastCGI
}

func startProgram(b *testing.B) *program {
	b.Helper()
	dir := b.TempDir()
	binary := filepath.Join(dir, "gateway")
	out, err := exec.Command("go", "build", "-o", binary, "warmcgi/cmd/gateway").CombinedOutput()
	require.NoError(b, err, string(out))
	write := func(name, text string, mode os.FileMode) {
		require.NoError(b, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(b, os.WriteFile(filepath.Join(dir, name), []byte(text), mode))
	}
	write("html/small.txt", strings.Repeat("x", 1000), 0o644)
	write("html/large.bin", strings.Repeat("x", 1<<20), 0o644)
	write("cgi-bin/form.pl", "#!/usr/bin/perl\n# cgi: reuse\nuse strict;\nuse CGI;\nmy $q = CGI->new;\nprint $q->header('text/plain'), 'a is ', scalar $q->param('a'), \"\\n\";\n", 0o755)
	write("cgi-bin/large.pl", "#!/usr/bin/perl\n# cgi: reuse\nuse strict;\nprint \"Content-Type: text/plain\\nContent-Length: 1048576\\n\\n\", 'x' x 1048576;\n", 0o755)
	write("gateway.yaml", `
listen: [{http: 127.0.0.1:0}, {fastcgi: 127.0.0.1:0}]
routes:
  - path: /cgi-bin/
    cgi: {dir: cgi-bin}
  - path: /
    files: {root: html}
log: {access: {format: off}}
`, 0o644)
	cmd := exec.Command(binary, "serve", "--config", filepath.Join(dir, "gateway.yaml"))
	log := new(bytes.Buffer)
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if b.Failed() {
			b.Log(log.String())
		}
	})
	g := &program{pid: cmd.Process.Pid}
	lines := bufio.NewReader(stdout)
	for len(g.doors) < 2 {
		line, err := lines.ReadString('\n')
		require.NoError(b, err)
		if f := strings.Fields(line); len(f) > 0 && f[0] == "serving" {
			at := strings.TrimSuffix(f[len(f)-1], "/")
			g.doors = append(g.doors, strings.TrimPrefix(at[strings.LastIndexByte(at, '/')+1:], "tcp:"))
		}
	}
	go io.Copy(io.Discard, lines) // ends with the program
	return g
}

package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"warmcgi/internal/cgi"
)

// workload is a CGI program, what it is asked, and the answer that it must give.
type workload struct {
	name  string
	title string // what it is, for the readers of a picture
	file  string // in testdata, and in cgi-bin
	query string
	body  string
	// upload is what a POST sends, over and over where uploadSize says so. Without it,
	// requests are GETs.
	upload     string
	uploadSize int64
	// warm: the gateway can keep it warm. residents are the servers that run the script's
	// own logic in processes that stay.
	warm      bool
	residents []string
	modes     []cgi.Mode // where only the gateway is asked, in these
	class     class
	fastcgi   bool     // the program is a FastCGI application that the gateway starts
	libs      []string // of the C program
	children  int      // php-fpm's
	// size is that of a large answer: body over and over. While it starts, a server is
	// asked for body alone, by first.
	size  int64
	first string
	// connections to measure with; 0 is the option's.
	connections int
	// wait is how long an answer may take behind the end of a measurement; 0 is patience.
	wait time.Duration
	need need
	// trial replaces the measurement in turns.
	trial trial

	dir string // cgi-bin
}

// need is what a program can't run without: a command that fails then, and the Debian
// packages that help.
type need struct {
	pkg   string
	check []string
}

// class says which servers can serve a workload.
type class int

const (
	classCGI class = iota
	classPHP
	classDoor
)

// noise is of no pattern, and always the same.
func noise(size int) string {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}

// about is the title, and how many ask.
func (w *workload) about() string {
	switch {
	case w.trial != nil || w.class != classCGI:
		return w.title
	case w.connections == 1:
		return w.title + ", 1 connection"
	}
	return w.title
}

// checksumOf is the sum of the 32-bit words of so many octets of a piece that is repeated.
func checksumOf(piece string, size int64) string {
	var sum uint32
	for i := 0; i+4 <= len(piece); i += 4 {
		sum += binary.LittleEndian.Uint32([]byte(piece[i : i+4]))
	}
	return strconv.FormatUint(uint64(sum*uint32(size/int64(len(piece)))), 10)
}

// method is that of the requests.
func (w *workload) method() string {
	if w.upload != "" {
		return "POST"
	}
	return "GET"
}

// sends is how much one request sends.
func (w *workload) sends() int64 { return max(w.uploadSize, int64(len(w.upload))) }

// moves is how much one request moves, where that is what counts; else 0.
func (w *workload) moves() int64 { return max(w.size, w.uploadSize) }

func workloadNames() []string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

// text is a file of testdata.
func text(name string) string {
	b, err := testdata.ReadFile("testdata/" + name)
	if err != nil {
		panic(err) // it is in the binary, or the tests fail
	}
	return string(b)
}

// path is the program's URL path at every server.
func (w *workload) path() string { return "/cgi-bin/" + w.file }

// target is what the request line asks for.
func (w *workload) target() string {
	if w.query == "" {
		return w.path()
	}
	return w.path() + "?" + w.query
}

// content is what an answer must hold.
func (w *workload) content() content {
	c := whole(w.body)
	c.size = max(c.size, w.size)
	return c
}

// readSize is that of the load generator's buffer.
func (w *workload) readSize() int {
	if w.size > 0 {
		return 256 << 10
	}
	return 4 << 10
}

// patience is how long an answer may take behind the end of a measurement.
func (w *workload) patience() time.Duration { return cmp.Or(w.wait, patience) }

// probe is what is asked of a server until it answers.
func (w *workload) probe() *workload {
	p := *w
	switch {
	case w.first != "":
		p.query, p.size = w.first, 0
	case w.uploadSize > 0:
		p.uploadSize, p.body = 0, received(int64(len(w.upload)))
	}
	return &p
}

// script is the program's file.
func (w *workload) script() string { return filepath.Join(w.dir, w.file) }

var errNoWorkload = errors.New("there is none of that name; there are " + strings.Join(workloadNames(), ", "))

// prepare writes the program. The C one is compiled as anybody would: dynamically linked.
func prepare(name, dir string) (*workload, error) {
	i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
	if i < 0 {
		return nil, errNoWorkload
	}
	w := workloads[i]
	if c := w.need.check; len(c) > 0 {
		if b, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s (apt-get install %s)", strings.Join(c, " "), err, bytes.TrimSpace(b), w.need.pkg)
		}
	}
	w.dir = filepath.Join(dir, "cgi-bin")
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(w.script(), []byte(text(w.file)), 0o755); err != nil {
		return nil, err
	}
	if err := w.writeFiles(); err != nil {
		return nil, err
	}
	source, ok := strings.CutSuffix(w.file, ".c")
	if !ok {
		return &w, nil
	}
	from := w.script()
	w.file = source
	if b, err := exec.Command("cc", append([]string{"-O2", "-DFOLDER=\"" + w.dir + "\"", "-o", w.script(), from}, w.libs...)...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cc: %w: %s", err, b)
	}
	return &w, nil
}

// writeFiles writes what the script of a large answer sends.
func (w *workload) writeFiles() error {
	if w.size == 0 {
		return nil
	}
	if err := os.WriteFile(filepath.Join(w.dir, "small"), []byte(w.body), 0o644); err != nil || w.class != classPHP {
		return err
	}
	f, err := os.Create(filepath.Join(w.dir, "large"))
	if err != nil {
		return err
	}
	defer f.Close()
	for left := w.size; left > 0; {
		n, err := io.WriteString(f, w.body[:min(left, int64(len(w.body)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return f.Close()
}

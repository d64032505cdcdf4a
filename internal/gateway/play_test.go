package gateway

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// hello is the head, and helloWorld the whole, of the plainest answer.
const (
	hello      = "out Content-Type: text/plain\n\n"
	helloWorld = hello + "hello, world\n"
)

// source is in every script of these tests, and must never be in an answer.
const source = "THIS IS THE SOURCE"

// A script of these tests is a file whose #! line names the test binary. The lines
// behind it are steps, quoted as in Go; each is a word and what it is about:
//
//	out TEXT, err TEXT    write to standard output, standard error
//	outn N                write N octets of pattern
//	drip N PAUSE TEXT     write TEXT to standard output N times, with a pause before each
//	read N                take N octets of standard input, and forget them
//	sum                   take all of it, and write how many octets and what they were
//	copy                  write to standard output what comes
//	stdin                 write what standard input is
//	env, args             write what the script was started with
//	close N               close a descriptor
//	touch FILE            tell the test something; it holds the process id. ${VAR} in its
//	                      name is a variable
//	await FILE            be told something by the test
//	sleep TIME, hang      do nothing
//	ignore SIGNAL         ignore a signal
//	fork HOW STEPS        start a child with steps of its own, see child, and go on. HOW:
//	                      "hold" it has all descriptors, "free" it has none
//	kill SIGNAL           die of a signal
//	exit N                exit; without it, with 0
func scriptFile(steps ...string) string {
	b := []byte("#!" + exe + "\n")
	for _, s := range append([]string{"# " + source}, steps...) {
		b = append(strconv.AppendQuote(b, s), '\n')
	}
	return string(b)
}

var exe = must(os.Executable())

// isPlay reports whether this process is a script.
func isPlay() bool { return os.Getenv("GATEWAY_INTERFACE") != "" && len(os.Args) > 1 }

// play is the script. It does not return.
func play() {
	b := []byte(os.Args[1])
	if b[0] != '"' {
		b = must(os.ReadFile(os.Args[1]))
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	for line := range bytes.Lines(b) {
		step := must(strconv.Unquote(string(bytes.TrimSpace(line))))
		word, about, _ := strings.Cut(step, " ")
		playStep(word, about)
	}
	leave(0)
}

func playStep(word, about string) {
	switch word {
	case "#":
	case "out":
		write(1, []byte(about))
	case "err":
		write(2, []byte(about))
	case "outn":
		write(1, pattern(number(about)))
	case "drip":
		f := strings.SplitN(about, " ", 3)
		for range number(f[0]) {
			nap(f[1])
			write(1, []byte(f[2]))
		}
	case "read":
		must(io.CopyN(io.Discard, os.Stdin, int64(number(about))))
	case "sum":
		write(1, []byte(sum(must(io.ReadAll(os.Stdin)))))
	case "copy":
		must(io.Copy(os.Stdout, os.Stdin))
	case "stdin":
		info := must(os.Stdin.Stat())
		write(1, []byte(info.Mode().String()[:1]))
	case "env":
		write(1, []byte(strings.Join(os.Environ(), "\x00")))
	case "args":
		write(1, []byte(strings.Join(os.Args[2:], "\x00")))
	case "close":
		try(syscall.Close(number(about)))
	case "touch":
		about = os.ExpandEnv(about)
		try(os.WriteFile(about+".part", []byte(strconv.Itoa(os.Getpid())), 0o666))
		try(os.Rename(about+".part", about))
	case "await":
		for !exists(about) {
			time.Sleep(time.Millisecond)
		}
	case "sleep":
		nap(about)
	case "hang":
		time.Sleep(time.Hour)
	case "ignore":
		signal.Ignore(unix.SignalNum(about))
	case "fork":
		how, steps, _ := strings.Cut(about, " ")
		fork(how, steps)
	case "kill":
		signal.Reset()
		try(syscall.Kill(os.Getpid(), unix.SignalNum(about)))
		time.Sleep(time.Hour)
	case "exit":
		leave(number(about))
	default:
		panic("no such step: " + word)
	}
}

func fork(how, steps string) {
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr}
	if how == "free" {
		null := must(os.OpenFile(os.DevNull, os.O_RDWR, 0))
		files = []*os.File{null, null, null}
	}
	must(os.StartProcess(exe, []string{"child", steps}, &os.ProcAttr{Env: os.Environ(), Files: files}))
}

// write is unbuffered, and lets SIGPIPE do its work.
func write(fd int, b []byte) {
	for len(b) > 0 {
		n, err := syscall.Write(fd, b)
		if err == syscall.EINTR {
			continue
		}
		try(err)
		b = b[n:]
	}
}

// pattern is n octets, the same at no two places that something goes wrong with: its
// period is a prime number.
func pattern(n int) []byte {
	var period [4099]byte
	for i := range period {
		period[i] = byte(i>>8) ^ byte(i*7)
	}
	return bytes.Repeat(period[:], n/len(period)+1)[:n]
}

// sum is what the step sum writes of a body.
func sum(b []byte) string { return fmt.Sprintf("%d %x", len(b), sha256.Sum256(b)) }

func nap(s string) { time.Sleep(must(time.ParseDuration(s))) }

func number(s string) int { return must(strconv.Atoi(s)) }

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func must[T any](v T, err error) T {
	try(err)
	return v
}

// try ends a script whose step has failed, with a status that no test expects.
func try(err error) {
	if err == nil {
		return
	}
	if !isPlay() {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, "test script:", err)
	leave(99)
}

// child is the argument of the step fork.
func child(how string, steps ...string) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(strconv.Quote(s) + "\n")
	}
	return "fork " + how + " " + b.String()
}

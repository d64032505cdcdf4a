package cgi

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
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

// stepsVar holds what a script is to do.
const stepsVar = "TEST_SCRIPT"

// hello is the head, and hello world the whole, of the plainest answer.
const (
	hello      = "out Content-Type: text/plain\n\n"
	helloWorld = hello + "hello, world\n"
)

// script writes the steps of a script down. Each is a word and what it is about:
//
//	out TEXT, err TEXT    write to standard output, standard error
//	outn N, errn N        write N octets of pattern; lines of 63 octets and an end
//	drip N PAUSE TEXT     write TEXT to standard output N times, with a pause before each
//	read N                take N octets of standard input, and forget them
//	sum                   take all of it, and write how many and what they were
//	copy                  write to standard output what comes
//	seek                  write how large standard input is, and its last octet
//	env, args, state      write what the script was started with
//	close N               close a descriptor
//	touch FILE            tell the test something; it holds the process id
//	await FILE            be told something by the test
//	sleep TIME, hang      do nothing
//	ignore SIGNAL         ignore a signal
//	trap TEXT             on SIGTERM, write TEXT to standard output and exit with 0
//	fork N HOW STEPS      start N children with steps of their own, in JSON, and go on;
//	                      HOW: "hold" they share all descriptors, "free" they have none,
//	                      "daemon" or "freedaemon" the same in a session of their own
//	kill SIGNAL           die of a signal
//	exit N                exit; without it, with 0
func script(steps ...string) string {
	b, err := json.Marshal(steps)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// play is the script. It does not return.
func play(encoded string) {
	var steps []string
	try(json.Unmarshal([]byte(encoded), &steps))
	for _, step := range steps {
		word, about, _ := strings.Cut(step, " ")
		playStep(word, about)
	}
	leave(0)
}

func playStep(word, about string) {
	switch word {
	case "out":
		write(1, []byte(about))
	case "err":
		write(2, []byte(about))
	case "outn":
		write(1, pattern(number(about)))
	case "errn":
		write(2, bytes.Repeat([]byte(strings.Repeat("x", 63)+"\n"), number(about)/64))
	case "drip":
		f := strings.SplitN(about, " ", 3)
		for range number(f[0]) {
			nap(f[1])
			write(1, []byte(f[2]))
		}
	case "read":
		must(io.CopyN(io.Discard, os.Stdin, int64(number(about))))
	case "sum":
		b := must(io.ReadAll(os.Stdin))
		write(1, fmt.Appendf(nil, "%d %x\n", len(b), sha256.Sum256(b)))
	case "copy":
		must(io.Copy(os.Stdout, os.Stdin))
	case "seek":
		size := must(os.Stdin.Seek(-1, io.SeekEnd)) + 1
		b := must(io.ReadAll(os.Stdin))
		write(1, fmt.Appendf(nil, "%d %q\n", size, b))
		must(os.Stdin.Seek(0, io.SeekStart))
	case "env":
		write(1, []byte(strings.Join(os.Environ(), "\x00")))
	case "args":
		write(1, []byte(strings.Join(os.Args, "\x00")))
	case "state":
		write(1, must(json.Marshal(currentState())))
	case "close":
		try(syscall.Close(number(about)))
	case "touch":
		try(os.WriteFile(about+"~", []byte(strconv.Itoa(os.Getpid())), 0o666))
		try(os.Rename(about+"~", about))
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
	case "trap":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		go func() {
			<-c
			write(1, []byte(about))
			leave(0)
		}()
	case "fork":
		f := strings.SplitN(about, " ", 3)
		for range number(f[0]) {
			fork(f[1], f[2])
		}
	case "kill":
		die(unix.SignalNum(about))
	case "exit":
		leave(number(about))
	default:
		panic("no such step: " + word)
	}
}

// A state is what a script finds itself in.
type state struct {
	Pid, Group, Session, Parent int
	Dir                         string
	Umask                       int
	Ignored, Blocked            string // signals, as /proc writes them; Linux only
	Stdin, Stdout, Stderr       string // what they are, as /proc writes it; Linux only
}

func currentState() state {
	s := state{Pid: os.Getpid(), Parent: os.Getppid(), Group: syscall.Getpgrp(), Session: must(unix.Getsid(0)), Dir: must(os.Getwd()), Umask: syscall.Umask(0)}
	status, _ := os.ReadFile("/proc/self/status")
	for l := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(l), ":\t")
		switch name {
		case "SigIgn":
			s.Ignored = value
		case "SigBlk":
			s.Blocked = value
		}
	}
	s.Stdin, _ = os.Readlink("/proc/self/fd/0")
	s.Stdout, _ = os.Readlink("/proc/self/fd/1")
	s.Stderr, _ = os.Readlink("/proc/self/fd/2")
	return s
}

func fork(how, steps string) {
	attr := &os.ProcAttr{Env: []string{stepsVar + "=" + steps}, Sys: &syscall.SysProcAttr{Setsid: strings.HasSuffix(how, "daemon")}}
	if strings.HasPrefix(how, "free") {
		null := must(os.OpenFile(os.DevNull, os.O_RDWR, 0))
		attr.Files = []*os.File{null, null, null}
	} else {
		attr.Files = []*os.File{os.Stdin, os.Stdout, os.Stderr}
	}
	must(os.StartProcess(must(os.Executable()), []string{"child"}, attr))
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
	if err != nil {
		fmt.Fprintln(os.Stderr, "test script:", err)
		leave(99)
	}
}

package cgi

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// BenchmarkSpawnHello is a whole request of mode spawn, with the smallest program
// that there can be: what is measured is the gateway's share, and the kernel's.
func BenchmarkSpawnHello(b *testing.B) {
	prog, env := helloProgram(b)
	s, err := NewSpawn(SpawnConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(context.Background())
	buf := make([]byte, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		ended := make(chan struct{})
		req := &Request{ID: "bench", Script: Script{Name: "/hello", File: prog}, Env: env}
		req.AtEnd(func(Exit) { close(ended) })
		res, err := s.RoundTrip(context.Background(), req)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = res.Body.Read(buf)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
		res.Body.Close()
		<-ended
	}
}

// helloProgram is a static C program where there is a compiler, and otherwise the
// test binary.
func helloProgram(b *testing.B) (file string, env []string) {
	gcc, err := exec.LookPath("gcc")
	if err == nil {
		dir := b.TempDir()
		file = filepath.Join(dir, "hello")
		source := file + ".c"
		const program = `#include <unistd.h>
int main(void) { static const char s[] = "Content-Type: text/plain\n\nhello, world\n"; return write(1, s, sizeof s - 1) < 0; }
`
		if err = os.WriteFile(source, []byte(program), 0o666); err != nil {
			b.Fatal(err)
		}
		cmd := exec.Command(gcc, "-O2", "-static", "-o", file, source)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err = cmd.Run(); err == nil {
			return file, nil
		}
	}
	b.Logf("no C compiler (%v): the test binary is the script, and slower", err)
	file, err = os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	return file, []string{stepsVar + "=" + script(helloWorld)}
}

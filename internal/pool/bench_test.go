//go:build linux

package pool

import (
	"testing"

	"warmcgi/internal/cgi"
)

// A whole request of a kept script, one after another, with the smallest Perl script that
// there can be: what is measured is the runner's share and the pool's. Allocations are those of
// the gateway's side, with what it does for the workers that it has forked meanwhile.

func BenchmarkWarm(b *testing.B) { benchmarkMode(b, cgi.ModeWarm) }

func BenchmarkReuse(b *testing.B) { benchmarkMode(b, cgi.ModeReuse) }

func benchmarkMode(b *testing.B, mode cgi.Mode) {
	s := newSite(b, nil)
	w, file := settings(mode), s.write("a.pl", hello)
	s.until(mode, w, file)
	b.ReportAllocs()
	for b.Loop() {
		if a := s.ask(w, file); a.mode != mode {
			b.Fatalf("answered in mode %s", a.mode)
		}
	}
}

// BenchmarkManyWarm has sixteen ask at once, so that forks are the bottleneck.
func BenchmarkManyWarm(b *testing.B) {
	s := newSite(b, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
	s.until(cgi.ModeWarm, w, file)
	b.ReportAllocs()
	b.SetParallelism(8) // for each processor
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if a := s.do(b.Context(), s.request(w, file)); a.err != nil || a.mode != cgi.ModeWarm {
				b.Errorf("answered in mode %s: %v", a.mode, a.err)
			}
		}
	})
}

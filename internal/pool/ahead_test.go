//go:build linux

package pool

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"warmcgi/internal/cgi"
)

func TestAScriptIsLoadedAheadOfItsFirstRequest(t *testing.T) {
	s := newSite(t, nil)
	for _, mode := range []cgi.Mode{cgi.ModeWarm, cgi.ModeAuto} {
		w, file := settings(mode), s.write(string(mode)+".pl", hello)
		require.NoError(t, s.Load(t.Context(), s.request(w, file)))
		assert.Equal(t, cgi.ModeWarm, s.ask(w, file).mode)
		require.NoError(t, s.Load(t.Context(), s.request(w, file)), "once more is no harm")
	}
	var warm []string
	for _, w := range s.Warm() {
		warm = append(warm, w.Script.Name)
		assert.Contains(t, w.Vars, "REQUEST_METHOD=GET")
	}
	assert.ElementsMatch(t, []string{"/warm.pl", "/auto.pl"}, warm)
}

func TestWhatCantBeLoadedAheadIsSaid(t *testing.T) {
	s := newSite(t, nil)
	w := settings(cgi.ModeWarm)
	for text, why := range map[string]string{
		"#!/usr/bin/perl\nuse No::Such::Module;\n":                                   "(broken): Can't locate No/Such/Module.pm",
		"#!/usr/bin/perl\nBEGIN { my $q = $ENV{QUERY_STRING} }\nprint \"\\n\\n\";\n": "(unsafe): ",
		"#!/bin/sh\n": "no runner",
	} {
		err := s.Load(t.Context(), s.request(w, s.write("a.pl", text), "QUERY_STRING=x"))
		require.ErrorIs(t, err, ErrNotLoaded)
		assert.ErrorContains(t, err, why)
		s.Retire(func(string, *cgi.Workers) bool { return false })
	}
	slow := s.request(w, s.write("slow.pl", "#!/usr/bin/perl\nBEGIN { sleep 60 }\nprint \"\\n\\n\";\n"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Load(ctx, slow)
	require.ErrorIs(t, err, ErrNotLoaded)
	assert.ErrorContains(t, err, "it was not loaded after")
	s.Retire(func(string, *cgi.Workers) bool { return false })

	s.descriptors.most = 1
	err = s.Load(t.Context(), s.request(w, s.write("b.pl", hello)))
	require.ErrorIs(t, err, ErrNoRoom)
	assert.ErrorContains(t, err, "open files")
}

func TestARetiredPoolsWorkersEndWhatTheyDoAndItsCountsStay(t *testing.T) {
	s := newSite(t, nil)
	kept, gone := settings(cgi.ModeWarm), settings(cgi.ModeWarm)
	busy := s.write("busy.pl", "#!/usr/bin/perl\n$| = 1; print \"Content-Type: text/plain\\n\\n$$\\n\"; select undef, undef, undef, .02 until -e '"+s.dir+"/go'; print 'end';\n")
	file := s.write("a.pl", hello)
	for _, w := range []*cgi.Workers{kept, gone} {
		require.NoError(t, s.Load(t.Context(), s.request(w, file)))
	}
	require.NoError(t, s.Load(t.Context(), s.request(gone, busy)))
	s.ask(gone, file)
	req := s.request(gone, busy)
	done := make(chan answer, 1)
	go func() { done <- s.do(context.Background(), req) }() // ends with the request
	s.eventually("a worker is busy", func() bool { return s.Status()[2].Busy == 1 })
	parents := map[int]bool{}
	for _, st := range s.Status() {
		parents[st.Parent] = true
	}

	s.Retire(func(of string, w *cgi.Workers) bool { return w == kept && of == file })
	require.Len(t, s.Status(), 1)
	assert.True(t, parents[s.status().Parent], "the one that stays is as it was")
	for pid := range parents {
		if pid != s.status().Parent {
			assert.True(t, s.Owns(pid), "until it has ended")
		}
	}
	assert.Equal(t, cgi.ModeWarm, s.ask(kept, file).mode)
	require.NoError(t, os.WriteFile(s.dir+"/go", nil, 0o644))
	a := <-done
	assert.NoError(t, a.err)
	assert.Regexp(t, `^\d+\nend$`, a.body)
	assert.Equal(t, cgi.ModeWarm, a.mode)
	s.eventually("the retired ones are forgotten", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.leaving) == 0
	})
	answers := map[string]int64{}
	for _, st := range merge(s.counted()) {
		answers[st.Script] = st.Answers[cgi.ModeWarm]
	}
	assert.Equal(t, map[string]int64{"/a.pl": 2, "/busy.pl": 1}, answers)
	s.ask(gone, busy) // nobody should, but who does is answered
}

func TestARequestThatComesForARetiredPoolIsSpawned(t *testing.T) {
	s := newSite(t, nil)
	w, file := settings(cgi.ModeWarm), s.write("a.pl", hello)
	require.NoError(t, s.Load(t.Context(), s.request(w, file)))
	p := s.poolOf(s.request(w, file))
	s.Retire(func(string, *cgi.Workers) bool { return false })
	_, _, err := p.worker(t.Context(), s.request(w, file))
	assert.ErrorIs(t, err, errNoWorker)
}

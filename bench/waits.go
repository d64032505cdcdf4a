package main

import (
	"fmt"
	"slices"
	"time"
)

// sum adds the connections up.
func (r *round) sum(clients []client) {
	var times []time.Duration
	for i := range clients {
		c := &clients[i]
		times = append(times, c.times...)
		r.Within += c.within
		r.Wrong += c.wrong
		r.Unanswered += c.unanswered
		r.Longest = max(r.Longest, c.longest)
	}
	if r.Requests = len(times); r.Requests > 0 {
		slices.Sort(times)
		r.P50, r.P99 = times[len(times)/2], times[len(times)*99/100]
	}
	r.Starving = starving(clients, float64(r.Requests)/float64(len(clients)), r.Unanswered)
}

// starving counts the connections that got no answer, or less than a tenth of an equal
// share. Where shares are small and everybody is answered, it can't tell starving from bad
// luck.
func starving(clients []client, share float64, unanswered int) (n int) {
	if share < 10 && unanswered == 0 {
		return 0
	}
	for i := range clients {
		if got := len(clients[i].times); got == 0 || float64(got) < share/10 {
			n++
		}
	}
	return n
}

// longest is the longest wait of all rounds.
func (r *result) longest() (most time.Duration) {
	for _, x := range r.Rounds {
		most = max(most, x.Longest)
	}
	return most.Round(10 * time.Microsecond)
}

// starved is how many connections starved, in the worst round.
func (r *result) starved() (most int) {
	for _, x := range r.Rounds {
		most = max(most, x.Starving)
	}
	return most
}

// unanswered is how many requests were not answered at all, in the worst round.
func (r *result) unanswered() (most int) {
	for _, x := range r.Rounds {
		most = max(most, x.Unanswered)
	}
	return most
}

// starving is both in words.
func (r *result) starving() string {
	if n := r.unanswered(); n > 0 {
		return fmt.Sprintf("%d (%d unanswered)", r.starved(), n)
	}
	return fmt.Sprint(r.starved())
}

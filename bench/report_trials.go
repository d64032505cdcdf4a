package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

func (r *result) idleFailures() (n int) {
	for _, x := range r.Rounds {
		if x.Idle != nil {
			n += x.Idle.Failed
		}
	}
	return n
}

// longestQueued is the longest wait in the gateway's queue of a request that then ran.
func (r *result) longestQueued() (most time.Duration) {
	for _, x := range r.Rounds {
		if x.Inside != nil {
			most = max(most, x.Inside.Queue.Most)
		}
	}
	return most
}

// perIdleClient is in octets, of the first round: later ones find what the garbage collector
// has left of the clients that went.
func (r *result) perIdleClient() float64 { return r.Rounds[0].Idle.PerClient }

// perLaterClient is the most of all rounds.
func (r *result) perLaterClient() float64 {
	return slices.Max(r.each(func(x *round) float64 { return x.Idle.PerClient }))
}

// printTrial is of a workload that has a measurement of its own.
func printTrial(out io.Writer, results []*result) {
	t := table(out)
	if results[0].Rounds[0].Offered != nil {
		fmt.Fprintln(t, "server\tpeak/s\tasked for/s\tanswered/s\tof peak\tp50\tlongest\trefused\tp50\tp99\tother failures\tnot sent\t")
	} else {
		fmt.Fprintln(t, "server\tidle clients\tKB each\tat most, in later rounds\ttheir failures\trequests/s beside them\tp50\tp99\twrong\t")
	}
	for _, r := range results {
		of := func(f func(*offered) float64) float64 {
			return median(r.each(func(x *round) float64 { return f(x.Offered) }))
		}
		if first := r.Rounds[0]; first.Offered != nil {
			fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f %%\t%v\t%v\t%.0f\t%v\t%v\t%d\t%.0f\t\n", r.Server, of(func(o *offered) float64 { return o.Peak }), of(func(o *offered) float64 { return o.Rate }),
				of(func(o *offered) float64 { return o.Good }), 100*of(func(o *offered) float64 { return o.Good / o.Peak }), r.duration(p50), r.longest(),
				of(func(o *offered) float64 { return float64(o.Refused) }), r.duration(func(x *round) time.Duration { return x.Offered.RefusedP50 }),
				r.duration(func(x *round) time.Duration { return x.Offered.RefusedP99 }), r.wrong(), of(func(o *offered) float64 { return float64(o.Held) }))
		} else {
			fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%d\t%.0f\t%v\t%v\t%d\t\n", r.Server, first.Idle.Clients, r.perIdleClient()/1000, r.perLaterClient()/1000, r.idleFailures(), median(r.each((*round).rps)),
				r.duration(p50), r.duration(func(x *round) time.Duration { return x.P99 }), r.wrong())
		}
	}
	t.Flush()
}

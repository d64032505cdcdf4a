package main

import (
	"fmt"
	"io"
)

// printBulk says what of the CPU is php-fpm's, and what a large request or answer costs.
func printBulk(out io.Writer, w *workload, results []*result) {
	large, php := w.moves() > 0, w.class == classPHP
	growth := ""
	if large {
		growth = "; growth: resident memory of the server's own processes, over that with small ones"
	}
	fmt.Fprintf(out, "\nwhere it goes (CPU us/request%s):\n\n", growth)
	t := table(out)
	columns := func(name, server, behind, speed, grown any) {
		fmt.Fprintf(t, "%v\t%v\t", name, server)
		if php {
			fmt.Fprintf(t, "%v\t", behind)
		}
		if large {
			fmt.Fprintf(t, "%v\t%v\t", speed, grown)
		}
		fmt.Fprintln(t)
	}
	columns("", "server", "php-fpm", "MB/s", "growth MiB")
	for _, r := range results {
		behind := median(r.each(func(x *round) float64 { return x.Behind * 1e6 / float64(max(x.Requests, 1)) }))
		whole := func(x float64) string { return fmt.Sprintf("%.0f", x) }
		columns(r.Server, whole(max(0, median(r.each((*round).cpuPerRequest))-behind)), whole(behind), whole(r.megabytes(w)), fmt.Sprintf("%.1f", float64(r.growth())/mebi))
	}
	t.Flush()
}

// megabytes are those that a server moves in a second.
func (r *result) megabytes(w *workload) float64 {
	return median(r.each((*round).rps)) * float64(w.moves()) / 1e6
}

// growth is the most of all rounds.
func (r *result) growth() (most int64) {
	for _, x := range r.Rounds {
		most = max(most, x.Growth)
	}
	return most
}

// ownCPU is that of the gateway's process alone, in microseconds per request.
func (r *result) ownCPU() float64 {
	return median(r.each(func(x *round) float64 { return x.Inside.Own * 1e6 / float64(max(x.Requests, 1)) }))
}

// printDoors says how much of the CPU is the gateway's own.
func printDoors(out io.Writer, results []*result) {
	fmt.Fprint(out, "\nwhere it goes (CPU us/request):\n\n")
	t := table(out)
	fmt.Fprintln(t, "\tgateway\tothers\t")
	for _, r := range results {
		own := r.ownCPU()
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t\n", r.Server, own, median(r.each((*round).cpuPerRequest))-own)
	}
	t.Flush()
}

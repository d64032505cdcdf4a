package cgi

import "time"

// maxCosts bounds what is remembered of scripts that nobody asks for now.
const maxCosts = 4096

// costs are the processor time of a request to each script, as the mean of the last ones: no
// line can be faster than the processors are. So a load that is too much is known from its
// first request on, and not when the first hundred have waited. Its Queue guards it.
type costs map[string]time.Duration

// note takes what a request has cost. Where that is not known (a reused worker's) it counts as
// nothing, so that what was known of another mode is forgotten.
func (c costs) note(script string, e Exit) {
	if !e.Started {
		return
	}
	was, known := c[script]
	switch {
	case !known && len(c) >= maxCosts:
		clear(c)
		fallthrough
	case !known:
		was = 0 // begins low: the first one may have found nothing in the caches
	}
	c[script] = was + (e.User+e.System-was)/8
}

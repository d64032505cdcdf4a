package gateway

import (
	"math"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"warmcgi/internal/fcgi"
)

// maxFronts is how many connections front servers may have at a FastCGI door: a quarter of
// the files that the gateway may have open, as each request wants some for its script.
func maxFronts() int {
	const least, most = 64, 8192
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || uint64(l.Cur) > math.MaxInt32 {
		return most
	}
	return min(max(int(l.Cur)/4, least), most)
}

// frontMetrics are those of the FastCGI doors, as their servers have counted them.
type frontMetrics struct{ doors func() []*door }

func frontDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("warmcgi_fastcgi_door_"+name, help, append([]string{"door"}, labels...), nil)
}

var (
	frontConns     = frontDesc("connections", "Connections of front servers at a FastCGI door now.")
	frontConnLimit = frontDesc("connections_limit", "How many connections there may be at a FastCGI door at a time.")
	frontAccepted  = frontDesc("connections_total", "Connections that a FastCGI door has accepted.")
	frontWaited    = frontDesc("connections_waited_total", "Connections at a FastCGI door that had to wait, by why (full: as many as there may be were open; descriptors: none was left).", "why")
	frontEvicted   = frontDesc("connections_evicted_total", "Idle connections at a FastCGI door that were closed in favour of one that waited.")
	frontRequests  = frontDesc("requests_total", "Requests that came in at a FastCGI door and were understood.")
	frontAborts    = frontDesc("aborts_total", "Requests at a FastCGI door that the front server gave up, by how (abort: it said so; gone: the connection ended).", "how")
	frontRefused   = frontDesc("refused_total", "What a FastCGI door has refused, by why (too_long: status 431; bad_variables: 400; too_slow: 408; role: UNKNOWN_ROLE; multiplexed: CANT_MPX_CONN; protocol: the connection was closed).", "why")
)

func (m frontMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{frontConns, frontConnLimit, frontAccepted, frontWaited, frontEvicted, frontRequests, frontAborts, frontRefused} {
		to <- d
	}
}

func (m frontMetrics) Collect(to chan<- prometheus.Metric) {
	for _, d := range m.doors() {
		if d.srv != nil {
			d.collect(to)
		}
	}
}

// metricName is the label of the door.
func (d *door) metricName() string {
	a := d.listener.Addr()
	return a.Network() + ":" + a.String()
}

func (d *door) collect(to chan<- prometheus.Metric) {
	name := d.metricName()
	gauge := func(desc *prometheus.Desc, n int) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), name)
	}
	count := func(desc *prometheus.Desc, e fcgi.Event, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(d.srv.Count(e)), append([]string{name}, labels...)...)
	}
	gauge(frontConns, d.srv.Conns())
	gauge(frontConnLimit, d.srv.MaxConns)
	count(frontAccepted, fcgi.EventAccepted)
	count(frontWaited, fcgi.EventFull, "full")
	count(frontWaited, fcgi.EventAcceptFailed, "descriptors")
	count(frontEvicted, fcgi.EventEvicted)
	count(frontRequests, fcgi.EventRequest)
	count(frontAborts, fcgi.EventAborted, "abort")
	count(frontAborts, fcgi.EventGone, "gone")
	count(frontRefused, fcgi.EventTooLong, "too_long")
	count(frontRefused, fcgi.EventBadParams, "bad_variables")
	count(frontRefused, fcgi.EventTooSlow, "too_slow")
	count(frontRefused, fcgi.EventUnknownRole, "role")
	count(frontRefused, fcgi.EventMultiplexed, "multiplexed")
	count(frontRefused, fcgi.EventProtocol, "protocol")
}

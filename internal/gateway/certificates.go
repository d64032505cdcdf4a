package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	"warmcgi/internal/acme"
)

// certificates are those that the server shows to others now, at doors or to FastCGI servers.
func (s *Server) certificates() (list []*certFiles) {
	add := func(c *certFiles) {
		if c != nil {
			list = append(list, c)
		}
	}
	for _, rules := range s.state.Load().doors {
		add(rules.shows)
	}
	if s.admin != nil {
		add(s.admin.shows)
	}
	for _, a := range s.served() {
		add(a.shows)
	}
	return list
}

// certificateMetrics tell when certificates end.
type certificateMetrics struct {
	of   func() []*certFiles
	acme func() []acme.Shown
}

var certificateEnd = prometheus.NewDesc("warmcgi_certificate_expiry_timestamp_seconds",
	"When the certificate that the server shows, at a door or to FastCGI servers, ends (seconds since 1970), by its file.", []string{"file"}, nil)

// Describe implements [prometheus.Collector].
func (certificateMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- certificateEnd }

// Collect implements [prometheus.Collector]. It tells of the certificate in force, which is not
// the file's where that could not be read.
func (m certificateMetrics) Collect(ch chan<- prometheus.Metric) {
	seen := map[string]bool{} // several doors may have the same
	for _, c := range m.of() {
		if pair, err := c.get(nil); err == nil && pair.Leaf != nil && !seen[c.cert] {
			seen[c.cert] = true
			ch <- prometheus.MustNewConstMetric(certificateEnd, prometheus.GaugeValue, float64(pair.Leaf.NotAfter.Unix()), c.cert)
		}
	}
	for _, c := range m.acme() {
		if !seen[c.File] {
			seen[c.File] = true
			ch <- prometheus.MustNewConstMetric(certificateEnd, prometheus.GaugeValue, float64(c.Ends.Unix()), c.File)
		}
	}
}

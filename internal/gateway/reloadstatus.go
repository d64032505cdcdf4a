package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ReloadStatus tells of the configuration.
type ReloadStatus struct {
	// Since is when the configuration that is served was taken.
	Since time.Time `json:"since"`
	// Reloads are those that were taken, Refused those that were not.
	Reloads int `json:"reloads"`
	Refused int `json:"refused"`
	// Tried is when the last one was; Error why it was not taken: what is served is older than what the file says.
	Tried *time.Time `json:"tried,omitempty"`
	Error string     `json:"error,omitempty"`
	// Leaving are configurations before this one that requests still run on.
	Leaving []Leaving `json:"leaving,omitempty"`
}

// Leaving is an old configuration.
type Leaving struct {
	Since    time.Time `json:"since"`
	Requests int64     `json:"requests"`
}

// noteReload notes how a reload has ended.
func (s *Server) noteReload(when time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reloads.Tried = &when
	if err != nil {
		s.reloads.Refused++
		s.reloads.Error = summary(err)
		return
	}
	s.reloads.Reloads++
	s.reloads.Error, s.reloads.Since = "", s.state.Load().since
}

func (s *Server) reloadStatus() ReloadStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.reloads
	for old := range s.leaving {
		st.Leaving = append(st.Leaving, Leaving{Since: old.since, Requests: old.users.Load()})
	}
	return st
}

// reloadMetrics are the figures of ReloadStatus.
type reloadMetrics struct{ s *Server }

var (
	reloadsTotal = prometheus.NewDesc("warmcgi_reloads_total",
		"Reloads of the configuration, by outcome (taken, refused).", []string{"outcome"}, nil)
	reloadSuccessful = prometheus.NewDesc("warmcgi_reload_successful",
		"1 where the last reload was taken, or there was none; 0 where it was refused, and an older configuration is served.", nil, nil)
	configSince = prometheus.NewDesc("warmcgi_configuration_timestamp_seconds",
		"When the configuration that is served was taken, in Unix time.", nil, nil)
	configsLeaving = prometheus.NewDesc("warmcgi_configurations_leaving",
		"Old configurations that requests still run on.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (m reloadMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{reloadsTotal, reloadSuccessful, configSince, configsLeaving} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (m reloadMetrics) Collect(ch chan<- prometheus.Metric) {
	st := m.s.reloadStatus()
	successful := 1.0
	if st.Error != "" {
		successful = 0
	}
	ch <- prometheus.MustNewConstMetric(reloadsTotal, prometheus.CounterValue, float64(st.Reloads), "taken")
	ch <- prometheus.MustNewConstMetric(reloadsTotal, prometheus.CounterValue, float64(st.Refused), "refused")
	ch <- prometheus.MustNewConstMetric(reloadSuccessful, prometheus.GaugeValue, successful)
	ch <- prometheus.MustNewConstMetric(configSince, prometheus.GaugeValue, float64(st.Since.UnixMilli())/1000)
	ch <- prometheus.MustNewConstMetric(configsLeaving, prometheus.GaugeValue, float64(len(st.Leaving)))
}

package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Tracing gives each request a span, by OpenTelemetry, and passes on which trace it belongs to, by W3C's Trace Context: as
// traceparent and tracestate to FastCGI applications and scripts (HTTP_TRACEPARENT, HTTP_TRACESTATE), and for programs that
// they start as TRACEPARENT and TRACESTATE. Without it a client's traceparent goes to scripts as any other field.
type Tracing struct {
	// Whose traceparent is believed: that of trusted_proxies, of all, or of none. For others a new trace begins. Whoever
	// is believed decides what is recorded: all is for networks without strangers. Default: trusted.
	Accept TraceAccept `yaml:"accept"`

	// The share of the traces begun here that are recorded: 1, 0.05 or 5%. Others are recorded if the client's are.
	// Default: 1.
	Sample Share `yaml:"sample"`

	// The service's name in the traces. Default: warmcgi.
	Service string `yaml:"service"`

	// More about the service: {deployment.environment.name: production}. Those of OTEL_RESOURCE_ATTRIBUTES in the gateway's
	// environment are there too.
	Attributes map[string]string `yaml:"attributes" scalar:"any"`

	// Where spans are sent. Left out: nowhere, ids are passed on only.
	Export *TraceExport `yaml:"export"`
}

// TraceExport is the collector that spans go to, by OTLP.
type TraceExport struct {
	// http://HOST:4318 or https://HOST for OTLP over HTTP (the path is /v1/traces where there is none),
	// grpc://HOST:4317 or grpcs://HOST:4317 for OTLP over gRPC.
	To string `yaml:"to" jsonschema:"required"`

	// Fields that go with each export: {Authorization: "Bearer ${TOKEN}"}.
	Headers map[string]string `yaml:"headers"`

	// PEM file of the certificates that the collector's must be signed by. Left out: those that the system trusts.
	CA string `yaml:"ca" path:"file"`

	// How long one export may take, with what is tried again. Default: 10s.
	Timeout Duration `yaml:"timeout"`
}

// TraceAccept is whose traces are continued.
type TraceAccept string

// The values of Tracing.Accept.
const (
	AcceptTrusted TraceAccept = "trusted"
	AcceptAll     TraceAccept = "all"
	AcceptNone    TraceAccept = "none"
)

func (TraceAccept) words() []string { return []string{"trusted", "all", "none"} }

// Share is a part of all, written as a number from 0 to 1 or in percent: 0.05, 5%.
type Share float64

// UnmarshalText reads a number from 0 to 1, or one in percent.
func (s *Share) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	f, err := strconv.ParseFloat(number, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%q is not a share (write it like 0.05 or 5%%)", text)
	}
	*s = Share(f)
	return nil
}

func (t *Tracing) setDefaults(*Config) { t.Accept, t.Sample, t.Service = AcceptTrusted, 1, "warmcgi" }

func (e *TraceExport) setDefaults(root *Config) { e.Timeout = Duration(10_000_000_000) }

// URL is where spans are sent.
func (e *TraceExport) URL() (*url.URL, error) { return url.Parse(e.To) }

func (d *decoder) checkTracing(t *Tracing) {
	if t == nil {
		return
	}
	d.checkLine("tracing.service", t.Service)
	if d.src.has("tracing.sample") && t.Export == nil {
		d.refuse(d.src.key("tracing.sample", "goes with export only"))
	}
	e := t.Export
	if e == nil {
		return
	}
	const key = "tracing.export"
	u, err := e.URL()
	switch {
	case !d.src.has(key + ".to"):
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		d.refuse(d.src.value(key+".to", "%q is not a URL (write it like http://127.0.0.1:4318 or grpc://127.0.0.1:4317)", e.To))
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "grpc" && u.Scheme != "grpcs":
		d.refuse(d.src.value(key+".to", "%s is not one of http, https, grpc, grpcs", u.Scheme))
	case strings.HasPrefix(u.Scheme, "grpc") && (u.Port() == "" || strings.Trim(u.Path, "/") != ""):
		d.refuse(d.src.value(key+".to", "%q must be a host with a port (write it like grpc://127.0.0.1:4317)", e.To))
	case !strings.HasSuffix(u.Scheme, "s") && e.CA != "":
		d.refuse(d.src.key(key+".ca", "goes with https: or grpcs: only"))
	}
	for name, value := range e.Headers {
		if at := childKey(key+".headers", name); !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			d.refuse(d.src.key(at, "is no field with a value of one line"))
		}
	}
}

// Package tracing gives requests spans, by OpenTelemetry, and takes these to a collector by
// OTLP. It keeps to itself: nothing of OpenTelemetry's global state is used.
package tracing

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"
)

// maxValue is the most that an attribute may hold: what a client sends can be much longer.
const maxValue = 1024

// Config sets up a [Tracer].
type Config struct {
	// Service and Version name the gateway; Attributes are further ones of its resource.
	Service, Version string
	Attributes       map[string]string
	// Sample is the share of traces begun here that are recorded.
	Sample float64
	// Export is where spans go, http:, https:, grpc: or grpcs:; nil: nowhere.
	Export *url.URL
	// Headers go with each export; TLS is for https: and grpcs:, Timeout for one export.
	Headers map[string]string
	TLS     *tls.Config
	Timeout time.Duration
	// Every is how often spans are sent; 0 is OpenTelemetry's five seconds.
	Every time.Duration
	// Count is told of spans: ended, exported, failed.
	Count func(outcome string, n int)
	Log   *slog.Logger
}

// A Tracer makes spans.
type Tracer struct {
	trace.Tracer
	provider *sdktrace.TracerProvider
	exporter *exporter       // nil: none
	conns    *http.Transport // of an export over HTTP
}

// New makes a tracer. It connects to nothing yet: a collector may come later.
func New(ctx context.Context, c Config) (*Tracer, error) {
	attrs := []attribute.KeyValue{semconv.ServiceName(c.Service), semconv.ServiceVersion(c.Version)}
	for name, value := range c.Attributes {
		attrs = append(attrs, attribute.String(name, value))
	}
	about, err := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK(), resource.WithHost(), resource.WithAttributes(attrs...))
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = maxValue
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(about), sdktrace.WithRawSpanLimits(limits)}
	conns := http.DefaultTransport.(*http.Transport).Clone()
	conns.TLSClientConfig = c.TLS
	var out *exporter
	root := sdktrace.NeverSample() // nobody would see them; ids are passed on all the same
	if c.Export != nil {
		client, err := newClient(c, conns)
		if err != nil {
			return nil, err
		}
		to, err := otlptrace.New(ctx, client)
		if err != nil {
			return nil, fmt.Errorf("tracing: export to %s: %w", c.Export, err)
		}
		out = newExporter(to, c)
		root = sdktrace.TraceIDRatioBased(c.Sample)
		var batch []sdktrace.BatchSpanProcessorOption
		if c.Every > 0 {
			batch = append(batch, sdktrace.WithBatchTimeout(c.Every))
		}
		options = append(options,
			sdktrace.WithSpanProcessor(counter{count: c.Count}),
			sdktrace.WithBatcher(out, batch...))
	}
	options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(root)))
	p := sdktrace.NewTracerProvider(options...)
	return &Tracer{Tracer: p.Tracer("warmcgi", trace.WithInstrumentationVersion(c.Version)), provider: p, exporter: out, conns: conns}, nil
}

func newClient(c Config, conns http.RoundTripper) (otlptrace.Client, error) {
	u := *c.Export
	switch u.Scheme {
	case "http", "https":
		if strings.Trim(u.Path, "/") == "" {
			u.Path = "/v1/traces"
		}
		o := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHeaders(c.Headers),
			otlptracehttp.WithHTTPClient(&http.Client{Transport: conns, Timeout: c.Timeout})}
		return otlptracehttp.NewClient(o...), nil
	case "grpc", "grpcs":
		o := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(u.Host), otlptracegrpc.WithHeaders(c.Headers), otlptracegrpc.WithTimeout(c.Timeout)}
		if u.Scheme == "grpc" {
			o = append(o, otlptracegrpc.WithInsecure())
		} else {
			o = append(o, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(c.TLS)))
		}
		return otlptracegrpc.NewClient(o...), nil
	}
	return nil, fmt.Errorf("tracing: can't export to %s", c.Export)
}

// Close sends what was not sent yet, until ctx ends. The log says what is lost by that.
func (t *Tracer) Close(ctx context.Context) {
	if t == nil {
		return
	}
	defer t.conns.CloseIdleConnections()
	if t.exporter != nil {
		defer t.exporter.stop()
		defer context.AfterFunc(ctx, t.exporter.stop)()
	}
	// It would leave its goroutine behind if it was this context that ended.
	if err := t.provider.Shutdown(context.WithoutCancel(ctx)); err != nil && t.exporter != nil {
		t.exporter.c.Log.Warn("tracing did not end well", "err", err)
	}
}

// Extract takes the trace that a request belongs to from its fields, by W3C's Trace
// Context. What is not valid is as if it were not there.
func Extract(ctx context.Context, h http.Header) context.Context {
	if len(h["Traceparent"]) != 1 {
		return ctx // of two, nobody knows which is true
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
}

// Fields are the values of traceparent and tracestate for those who are asked within a span.
func Fields(c trace.SpanContext) (parent, state string) {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), c), carrier)
	return carrier["traceparent"], carrier["tracestate"]
}

// Text is a value for an attribute. A single octet that is no UTF-8 would make the whole
// batch of spans impossible to send.
func Text(s string) string {
	if len(s) > maxValue {
		s = s[:maxValue]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

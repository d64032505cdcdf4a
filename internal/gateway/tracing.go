package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"warmcgi/internal/cgi"
	"warmcgi/internal/config"
	"warmcgi/internal/tracing"
)

// waitWorthTelling is the shortest time in a queue that gets a span.
const waitWorthTelling = time.Millisecond

// exchangeTrace is the trace of an exchange. Without tracing there is none, and nothing is made.
type exchangeTrace struct {
	tracer *tracing.Tracer
	ctx    context.Context // of those who work on the request
	span   trace.Span      // the whole request
	parent string          // traceparent, within span
	state  string          // tracestate, or ""
}

// newTracer is nil where there is no tracing.
func (s *Server) newTracer(c *config.Tracing) (*tracing.Tracer, error) {
	if c == nil {
		return nil, nil
	}
	name, version, _ := strings.Cut(cgi.Software, "/")
	tc := tracing.Config{
		Service: c.Service, Version: version, Attributes: c.Attributes, Sample: float64(c.Sample), Log: s.log,
		Count: func(outcome string, n int) { s.metrics.spans.WithLabelValues(outcome).Add(float64(n)) },
	}
	if e := c.Export; e != nil {
		var err error
		if tc.Export, err = e.URL(); err != nil {
			return nil, fmt.Errorf("tracing: export to %s: %w", e.To, err)
		}
		tc.Timeout, tc.Headers = time.Duration(e.Timeout), map[string]string{"User-Agent": name + "/" + version}
		for field, value := range e.Headers {
			tc.Headers[field] = value
		}
		tc.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		if e.CA != "" {
			if tc.TLS.RootCAs, err = authorities(e.CA); err != nil {
				return nil, fmt.Errorf("tracing: %w", err)
			}
		}
	}
	return tracing.New(context.Background(), tc)
}

// lastSpans is how long the end of the gateway, or of a configuration, may be held up by a
// collector.
const lastSpans = 3 * time.Second

// closeTracer sends the last spans.
func closeTracer(ctx context.Context, t *tracing.Tracer) {
	ctx, cancel := context.WithTimeout(ctx, lastSpans)
	defer cancel()
	t.Close(ctx)
}

// startTrace begins the request's span, in the client's trace if it is to be believed. What
// scripts see of the trace is what the gateway makes of it.
func (x *exchange) startTrace() {
	t := x.st.tracer
	if t == nil {
		return
	}
	ctx := x.first.Context()
	if a := x.st.config.Tracing.Accept; a == config.AcceptAll || a == config.AcceptTrusted && x.client.trusted {
		ctx = tracing.Extract(ctx, x.r.Header)
	}
	ctx, span := t.Start(ctx, spanMethod(x.r.Method), trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(x.began),
		trace.WithAttributes(x.requestAttributes()...))
	x.trace = &exchangeTrace{tracer: t, span: span}
	x.trace.ctx = context.WithValue(ctx, traceKey{}, x.trace)
	x.trace.parent, x.trace.state = tracing.Fields(span.SpanContext())
	x.r.Header["Traceparent"] = []string{x.trace.parent}
	delete(x.r.Header, "Tracestate")
	if x.trace.state != "" {
		x.r.Header["Tracestate"] = []string{x.trace.state}
	}
}

// spanMethod is the method where it is one that everybody knows: others would make names of
// spans, and metrics of them, without end.
func spanMethod(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY":
		return method
	}
	return "HTTP"
}

// requestAttributes are by the semantic conventions for HTTP server spans.
func (x *exchange) requestAttributes() []attribute.KeyValue {
	r := x.r
	scheme := "http"
	if x.client.https {
		scheme = "https"
	}
	version := strconv.Itoa(r.ProtoMajor)
	if r.ProtoMajor < 2 {
		version += "." + strconv.Itoa(r.ProtoMinor)
	}
	a := []attribute.KeyValue{
		semconv.URLPath(tracing.Text(r.URL.EscapedPath())), semconv.URLScheme(scheme), semconv.NetworkProtocolVersion(version),
		semconv.ClientAddress(hostOf(x.client.addr)), attribute.String("warmcgi.request_id", x.id),
	}
	if m := spanMethod(r.Method); m == r.Method {
		a = append(a, semconv.HTTPRequestMethodKey.String(m))
	} else {
		a = append(a, semconv.HTTPRequestMethodKey.String("_OTHER"), semconv.HTTPRequestMethodOriginal(tracing.Text(r.Method)))
	}
	if r.URL.RawQuery != "" {
		a = append(a, semconv.URLQuery(tracing.Text(r.URL.RawQuery)))
	}
	if agent := r.Header.Get("User-Agent"); agent != "" {
		a = append(a, semconv.UserAgentOriginal(tracing.Text(agent)))
	}
	if name := config.HostName(r.Host); name != "" {
		a = append(a, semconv.ServerAddress(name))
	}
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		if n, err := strconv.Atoi(port); err == nil {
			a = append(a, semconv.ServerPort(n))
		}
	}
	if hasAddr(r) {
		a = append(a, semconv.NetworkPeerAddress(hostOf(r.RemoteAddr)))
	}
	return a
}

// endTrace ends the request's span.
func (x *exchange) endTrace(complete bool) {
	if x.trace == nil {
		return
	}
	span := x.trace.span
	if x.route != nil {
		span.SetName(spanMethod(x.first.Method) + " " + x.route.Path)
		span.SetAttributes(semconv.HTTPRoute(x.route.Path))
	}
	span.SetAttributes(semconv.HTTPResponseStatusCode(x.status), attribute.Int64("http.response.body.size", x.bytes))
	if x.script != "" {
		span.SetAttributes(attribute.String("warmcgi.script", tracing.Text(x.script)))
	}
	if x.mode != "" {
		span.SetAttributes(attribute.String("warmcgi.mode", x.mode))
	}
	if x.err != nil {
		_, why := statusOf(x.err)
		span.SetAttributes(semconv.ErrorTypeKey.String(why))
	} else if x.status >= http.StatusInternalServerError {
		span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(x.status)))
	}
	if x.status >= http.StatusInternalServerError || !complete {
		text := ""
		if x.err != nil {
			text = tracing.Text(x.err.Error())
		}
		span.SetStatus(codes.Error, text)
	}
	span.End()
}

// context is that of those who work on the request.
func (x *exchange) context() context.Context {
	if x.trace != nil {
		return x.trace.ctx
	}
	return x.first.Context()
}

// traceID is for the log, or "".
func (x *exchange) traceID() string {
	if x.trace == nil {
		return ""
	}
	return x.trace.span.SpanContext().TraceID().String()
}

// follow has a script's request show in the trace, and the script told of it.
func (t *exchangeTrace) follow(req *cgi.Request) {
	if t == nil {
		return
	}
	req.Vars = override(req.Vars, []string{"TRACEPARENT=" + t.parent})
	if t.state != "" {
		req.Vars = override(req.Vars, []string{"TRACESTATE=" + t.state})
	}
	req.Waited = func(d time.Duration, err error) {
		if d < waitWorthTelling && err == nil {
			return
		}
		now := time.Now()
		_, span := t.tracer.Start(t.ctx, "queue", trace.WithTimestamp(now.Add(-d)))
		if err != nil {
			_, why := statusOf(err)
			span.SetAttributes(semconv.ErrorTypeKey.String(why))
			span.SetStatus(codes.Error, tracing.Text(err.Error()))
		}
		span.End(trace.WithTimestamp(now))
	}
}

// traceKey is that of an exchange's trace in the context of those who work on the request.
type traceKey struct{}

// tracedBackend gives each request of next a span, from when it has got through the queue
// until nothing works on it any more. Which exchanges have a trace is their configuration's.
type tracedBackend struct {
	kind trace.SpanKind
	next cgi.Backend
}

func traced(kind trace.SpanKind, next cgi.Backend) cgi.Backend { return tracedBackend{kind, next} }

// RoundTrip implements [cgi.Backend].
func (b tracedBackend) RoundTrip(ctx context.Context, req *cgi.Request) (*cgi.Response, error) {
	t, _ := ctx.Value(traceKey{}).(*exchangeTrace)
	if t == nil {
		return b.next.RoundTrip(ctx, req)
	}
	what := "script "
	if b.kind == trace.SpanKindClient {
		what = "fastcgi "
	}
	ctx, span := t.tracer.Start(ctx, tracing.Text(what+req.Script.Name), trace.WithSpanKind(b.kind), trace.WithAttributes(
		attribute.String("warmcgi.script", tracing.Text(req.Script.Name)), attribute.String("warmcgi.route", req.Route)))
	parent, _ := tracing.Fields(span.SpanContext())
	for i, v := range req.Vars {
		if name, _, _ := strings.Cut(v, "="); name == "TRACEPARENT" || name == "HTTP_TRACEPARENT" {
			req.Vars[i] = name + "=" + parent
		}
	}
	var ended atomic.Int32 // the process may end before RoundTrip does, or after it
	end := func() {
		if ended.Add(1) == 2 {
			span.End()
		}
	}
	defer end()
	req.AtEnd(func(e cgi.Exit) {
		defer end()
		if e.Started {
			span.SetAttributes(attribute.Int("process.exit.code", e.Code))
		}
		if e.Signal != "" {
			span.SetAttributes(attribute.String("warmcgi.signal", e.Signal))
		}
		if e.Killed != "" {
			span.SetAttributes(attribute.String("warmcgi.killed", e.Killed))
		}
	})
	res, err := b.next.RoundTrip(ctx, req)
	if req.Mode != "" {
		span.SetAttributes(attribute.String("warmcgi.mode", string(req.Mode)))
	}
	if err != nil {
		_, why := statusOf(err)
		span.SetAttributes(semconv.ErrorTypeKey.String(why))
		span.SetStatus(codes.Error, tracing.Text(err.Error()))
	}
	return res, err
}

package gateway

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// A testCollector takes spans by OTLP, over HTTP and gRPC.
type testCollector struct {
	collector.UnimplementedTraceServiceServer
	t    testing.TB
	mu   sync.Mutex
	got  []*otlp.Span
	auth string
	res  map[string]string
	down bool
}

func (c *testCollector) take(req *collector.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		c.res = attributesOf(rs.Resource.Attributes)
		for _, ss := range rs.ScopeSpans {
			c.got = append(c.got, ss.Spans...)
		}
	}
}

// Export is OTLP over gRPC.
func (c *testCollector) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.take(req)
	return &collector.ExportTraceServiceResponse{}, nil
}

// ServeHTTP is OTLP over HTTP.
func (c *testCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.auth = r.Header.Get("Authorization")
	down := c.down
	c.mu.Unlock()
	if down {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		body, err = gzip.NewReader(r.Body)
		assert.NoError(c.t, err)
	}
	b, err := io.ReadAll(body)
	assert.NoError(c.t, err)
	assert.Equal(c.t, "/v1/traces", r.URL.Path)
	var req collector.ExportTraceServiceRequest
	assert.NoError(c.t, proto.Unmarshal(b, &req))
	c.take(&req)
	w.Header().Set("Content-Type", "application/x-protobuf")
	out, err := proto.Marshal(&collector.ExportTraceServiceResponse{})
	assert.NoError(c.t, err)
	w.Write(out)
}

func newCollector(t testing.TB) (c *testCollector, url string) {
	c = &testCollector{t: t}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	return c, srv.URL
}

func newGRPCCollector(t testing.TB) (c *testCollector, url string) {
	c = &testCollector{t: t}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := grpc.NewServer()
	collector.RegisterTraceServiceServer(srv, c)
	go srv.Serve(l) // ends with Stop
	t.Cleanup(srv.Stop)
	return c, "grpc://" + l.Addr().String()
}

// named are the spans with a name that came.
func (c *testCollector) named(name string) (found []*otlp.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.got {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// one is the only span with a name.
func (c *testCollector) one(name string) *otlp.Span {
	c.t.Helper()
	found := c.named(name)
	require.Len(c.t, found, 1, name)
	return found[0]
}

func attributesOf(list []*common.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[kv.Key] = strconv.FormatInt(v.IntValue, 10)
		}
	}
	return m
}

const (
	traceA   = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanA    = "00f067aa0ba902b7"
	sampledA = "00-" + traceA + "-" + spanA + "-01"
)

// tracingTo is a configuration that exports to a collector.
func tracingTo(url string) string {
	return "\ntracing: {service: site, attributes: {deployment.environment.name: test, n: 1}, export: {to: \"" + url + "\", headers: {Authorization: Bearer x}}}\n"
}

func TestEachRequestHasItsSpansAtTheCollector(t *testing.T) {
	for name, collect := range map[string]func(testing.TB) (*testCollector, string){"HTTP": newCollector, "gRPC": newGRPCCollector} {
		t.Run(name, func(t *testing.T) {
			c, url := collect(t)
			s := newSite(t)
			s.script("cgi-bin/p", hello, "env")
			s.script("cgi-bin/fails", "exit 3")
			g := s.serve(scripts + "trusted_proxies: [127.0.0.1]\n" + tracingTo(url))
			a := http1(t, g.raw("GET /cgi-bin/p/\xff?q=\xff HTTP/1.1\r\nHost: www.example.org:8080\r\nConnection: close\r\nTraceparent: "+sampledA+
				"\r\nTracestate: vendor=1\r\nUser-Agent: agent \xff"+strings.Repeat("x", 5000)+"\r\nX-Forwarded-For: 203.0.113.7\r\nX-Request-Id: id-1\r\n\r\n"))
			v := a.variables(t)
			assert.Equal(t, 502, g.post("/cgi-bin/fails", "body").StatusCode)
			assert.Equal(t, 404, g.do(g.request("FROBNICATE", "/none", nil)).StatusCode)
			lines := strings.Split(strings.TrimSpace(g.logged3()), "\n")
			g.shutdown()

			root, script := c.one("GET /cgi-bin/"), c.one("script /cgi-bin/p")
			assert.Equal(t, traceA, hex.EncodeToString(root.TraceId))
			assert.Equal(t, spanA, hex.EncodeToString(root.ParentSpanId))
			assert.Equal(t, otlp.Span_SPAN_KIND_SERVER, root.Kind)
			assert.Equal(t, root.SpanId, script.ParentSpanId)
			assert.LessOrEqual(t, root.StartTimeUnixNano, script.StartTimeUnixNano)
			assert.Equal(t, "vendor=1", root.TraceState)
			about := attributesOf(root.Attributes)
			assert.LessOrEqual(t, utf8.RuneCountInString(about["user_agent.original"]), 1024, "bounded")
			assert.Equal(t, "agent \uFFFDxxx", about["user_agent.original"][:len("agent \uFFFDxxx")], "and no octet that can't be sent")
			delete(about, "user_agent.original")
			size, err := strconv.Atoi(about["http.response.body.size"])
			assert.NoError(t, err)
			assert.Equal(t, len(a.body), size)
			delete(about, "http.response.body.size")
			assert.Equal(t, map[string]string{
				"http.request.method": "GET", "http.route": "/cgi-bin/", "http.response.status_code": "200", "url.path": "/cgi-bin/p/%FF", "url.query": "q=\uFFFD",
				"url.scheme": "http", "network.protocol.version": "1.1", "client.address": "203.0.113.7", "network.peer.address": "127.0.0.1",
				"server.address": "www.example.org", "server.port": "8080", "warmcgi.request_id": "id-1", "warmcgi.script": "/cgi-bin/p", "warmcgi.mode": "spawn",
			}, about)
			assert.Equal(t, map[string]string{"warmcgi.script": "/cgi-bin/p", "warmcgi.route": "/cgi-bin/", "process.exit.code": "0"}, attributesOf(script.Attributes))

			want := "00-" + traceA + "-" + hex.EncodeToString(script.SpanId) + "-01"
			assert.Equal(t, want, v["TRACEPARENT"], "what the script asks for is within the script's span")
			assert.Equal(t, want, v["HTTP_TRACEPARENT"])
			assert.Equal(t, "vendor=1", v["TRACESTATE"])
			assert.Equal(t, "vendor=1", v["HTTP_TRACESTATE"])
			assert.Contains(t, lines[0], `"trace_id":"`+traceA+`"`, "the log has it too")

			post := c.one("POST /cgi-bin/")
			assert.Equal(t, otlp.Status_STATUS_CODE_ERROR, post.Status.Code)
			assert.Equal(t, "no_output", attributesOf(post.Attributes)["error.type"])
			assert.Empty(t, post.ParentSpanId)
			assert.NotEqual(t, root.TraceId, post.TraceId)
			failed := c.one("script /cgi-bin/fails")
			assert.Equal(t, "3", attributesOf(failed.Attributes)["process.exit.code"])
			assert.Equal(t, otlp.Status_STATUS_CODE_ERROR, failed.Status.Code)
			strange := attributesOf(c.one("HTTP").Attributes)
			assert.Equal(t, "_OTHER", strange["http.request.method"], "no name without end")
			assert.Equal(t, "FROBNICATE", strange["http.request.method_original"])
			assert.Equal(t, "404", strange["http.response.status_code"])

			assert.Equal(t, "site", c.res["service.name"])
			assert.Equal(t, "test", c.res["deployment.environment.name"])
			assert.Equal(t, "1", c.res["n"])
			if name == "HTTP" {
				assert.Equal(t, "Bearer x", c.auth)
			}
			assert.Equal(t, 5.0, g.metric("warmcgi_trace_spans_total", "outcome=exported"))
			assert.Equal(t, 5.0, g.metric("warmcgi_trace_spans_total", "outcome=ended"))
		})
	}
}

// logged3 is the access log when it has three lines.
func (g *testGateway) logged3() string {
	g.t.Helper()
	g.logged(3)
	return g.access.String()
}

func TestATraceIsContinuedOnlyForWhomIsToBeBelieved(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	for _, c := range []struct {
		accept, trusted string
		continued       bool
	}{
		{"trusted", "[127.0.0.1]", true},
		{"trusted", "[10.0.0.0/8]", false},
		{"all", "[10.0.0.0/8]", true},
		{"none", "[127.0.0.1]", false},
	} {
		g := s.serve(scripts + "trusted_proxies: " + c.trusted + "\ntracing: {accept: " + c.accept + "}\n")
		v := g.get("/cgi-bin/p", "Traceparent", sampledA, "Tracestate", "vendor=1", "Baggage", "k=v").variables(t)
		assert.Equal(t, c.continued, strings.Contains(v["TRACEPARENT"], traceA), c)
		assert.Equal(t, c.continued, v["TRACESTATE"] != "", c)
		assert.Equal(t, c.continued, v["HTTP_TRACESTATE"] != "", "what is not believed is not passed on: %v", c)
		assert.Equal(t, v["TRACEPARENT"], v["HTTP_TRACEPARENT"])
		assert.NotContains(t, v["TRACEPARENT"], spanA)
		assert.Equal(t, "k=v", v["HTTP_BAGGAGE"])
		g.shutdown()
	}
}

func TestWhatIsNoTraceparentBeginsANewTrace(t *testing.T) {
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	g := s.serve(scripts + "tracing: {accept: all}\n")
	for _, bad := range []string{
		"", "x", "00-" + traceA + "-" + spanA, "00-00000000000000000000000000000000-" + spanA + "-01", "00-" + traceA + "-0000000000000000-01", "ff-" + traceA + "-" + spanA + "-01",
		strings.ToUpper(sampledA), sampledA + "-x", sampledA + strings.Repeat("x", 10_000), "00-" + traceA + "-" + spanA + "-0g",
	} {
		v := g.get("/cgi-bin/p", "Traceparent", bad, "Tracestate", "vendor=1").variables(t)
		assert.Regexp(t, "^00-[0-9a-f]{32}-[0-9a-f]{16}-00$", v["TRACEPARENT"], "not recorded, as nobody would see it: %.60s", bad)
		assert.NotContains(t, v["TRACEPARENT"], traceA, "%.60s", bad)
		assert.NotContains(t, v, "HTTP_TRACESTATE", "%.60s", bad)
	}
	v := g.get("/cgi-bin/p", "Traceparent", sampledA, "Traceparent", sampledA).variables(t)
	assert.NotContains(t, v["TRACEPARENT"], traceA, "of two nobody knows which is true")
	v = g.get("/cgi-bin/p", "Traceparent", sampledA, "Tracestate", strings.Repeat("a=1,", 40)).variables(t)
	assert.Contains(t, v["TRACEPARENT"], traceA)
	assert.NotContains(t, v, "TRACESTATE", "too many members")
	v = g.get("/cgi-bin/p", "Traceparent", "cc-"+traceA+"-"+spanA+"-01-later").variables(t)
	assert.Contains(t, v["TRACEPARENT"], traceA, "a later version may say more")
}

func TestTheTimeInTheQueueHasASpan(t *testing.T) {
	c, url := newCollector(t)
	s := newSite(t)
	s.script("cgi-bin/p", hello, "touch "+s.path("began"), "await "+s.path("go"), "out x")
	g := s.serve(scripts + "defaults: {workers: {max: 1}}\n" + tracingTo(url))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { assert.Equal(t, 200, g.get("/cgi-bin/p").StatusCode) })
	}
	g.awaitMetric(1, "warmcgi_queue_depth")
	s.touch("go")
	wg.Wait()
	g.shutdown()
	queue := c.one("queue")
	assert.Greater(t, queue.EndTimeUnixNano, queue.StartTimeUnixNano)
	for _, script := range c.named("script /cgi-bin/p") {
		if hex.EncodeToString(script.TraceId) == hex.EncodeToString(queue.TraceId) {
			assert.Equal(t, script.ParentSpanId, queue.ParentSpanId, "one after the other in the same request")
			assert.GreaterOrEqual(t, script.StartTimeUnixNano, queue.StartTimeUnixNano)
		}
	}
}

func TestAnApplicationIsAskedWithinATrace(t *testing.T) {
	c, url := newCollector(t)
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	back := s.serve(scripts + "listen: [{fastcgi: 'unix:back'}]\n")
	g := s.serve("routes: [{path: /cgi-bin, fastcgi: {servers: ['unix:back']}}]\n" + tracingTo(url))
	v := g.get("/cgi-bin/p").variables(t)
	g.shutdown()
	back.shutdown()
	span := c.one("fastcgi /cgi-bin")
	assert.Equal(t, otlp.Span_SPAN_KIND_CLIENT, span.Kind)
	assert.Contains(t, v["HTTP_TRACEPARENT"], hex.EncodeToString(span.SpanId))
	assert.Equal(t, v["HTTP_TRACEPARENT"], v["TRACEPARENT"])
	assert.Equal(t, c.one("GET /cgi-bin").SpanId, span.ParentSpanId)
}

func TestSamplingIsAsConfiguredButForTheTracesOfOthers(t *testing.T) {
	c, url := newCollector(t)
	s := newSite(t)
	s.write("f/f", "f")
	g := s.serve("routes: [{path: /, files: {root: f}}]\ntracing: {accept: all, sample: 0%, export: {to: \"" + url + "\"}}\n")
	g.get("/f")
	g.get("/f", "Traceparent", sampledA)
	g.shutdown()
	assert.Equal(t, traceA, hex.EncodeToString(c.one("GET /").TraceId))
	assert.Equal(t, 1.0, g.metric("warmcgi_trace_spans_total", "outcome=ended"))
}

func TestACollectorThatIsDownHoldsNothingUp(t *testing.T) {
	c, url := newCollector(t)
	c.down = true
	s := newSite(t)
	s.write("f/f", "f")
	g := s.serve("routes: [{path: /, files: {root: f}}]\n" + tracingTo(url))
	assert.Equal(t, 200, g.get("/f").StatusCode)
	g.shutdown()
	assert.Equal(t, 1.0, g.metric("warmcgi_trace_spans_total", "outcome=failed"))
	g.awaitLog("level=WARN", "spans were not taken", "spans=1")

	l, err := net.Listen("tcp", "127.0.0.1:0") // where nobody listens any more
	require.NoError(t, err)
	l.Close()
	for _, scheme := range []string{"http://", "grpc://"} {
		g = s.serve("routes: [{path: /, files: {root: f}}]\n" + tracingTo(scheme+l.Addr().String()))
		assert.Equal(t, 200, g.get("/f").StatusCode)
		began := time.Now()
		g.shutdown()
		assert.Less(t, time.Since(began), patience/2, "the end of the gateway is held up for a moment only")
	}
}

func TestAReloadChangesWhereSpansGoForRequestsThatBeginThen(t *testing.T) {
	one, toOne := newCollector(t)
	other, toOther := newCollector(t)
	s := newSite(t)
	s.script("cgi-bin/slow", "touch up", "await go", helloWorld)
	s.script("cgi-bin/p", helloWorld)
	g := s.serve(scripts + tracingTo(toOne))
	c := g.dial().send("GET /cgi-bin/slow HTTP/1.1\r\nHost: x\r\n\r\n")
	s.started("cgi-bin/up")
	g.mustReload(scripts + tracingTo(toOther))
	assert.Equal(t, 200, g.get("/cgi-bin/p").StatusCode)
	_, err := g.reload(scripts + strings.NewReplacer("export: {to", "export: {ca: none.pem, to", "http:", "https:").Replace(tracingTo(toOther)))
	require.ErrorContains(t, err, "none.pem")
	assert.Equal(t, 200, g.get("/cgi-bin/p").StatusCode)
	s.touch("cgi-bin/go")
	assert.Equal(t, "hello, world\n", c.answer("GET").body)
	eventually(t, func() bool { return len(one.named("script /cgi-bin/slow")) == 1 }, "the old tracer ends with its last request")
	assert.Empty(t, one.named("script /cgi-bin/p"))
	g.mustReload(scripts)
	eventually(t, func() bool { return len(other.named("script /cgi-bin/p")) == 2 }, "the one that was kept has its spans")
	assert.Equal(t, 200, g.get("/cgi-bin/p").StatusCode)
	g.shutdown()
	assert.Len(t, other.named("script /cgi-bin/p"), 2, "without tracing none are made")
	assert.Empty(t, other.named("script /cgi-bin/slow"))
}

func TestWithoutTracingNothingIsMadeForIt(t *testing.T) {
	x := &exchange{s: &Server{}, st: &state{}, first: httptest.NewRequest("GET", "/", nil)}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		x.startTrace()
		x.trace.follow(nil)
		x.endTrace(true)
		if x.context() != x.first.Context() || x.traceID() != "" {
			t.Fail()
		}
	}))
	s := newSite(t)
	s.script("cgi-bin/p", hello, "env")
	v := s.serve(scripts).get("/cgi-bin/p", "Traceparent", "anything").variables(t)
	assert.Equal(t, "anything", v["HTTP_TRACEPARENT"], "it is a field as any other")
	assert.NotContains(t, v, "TRACEPARENT")
}

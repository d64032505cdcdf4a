package tracing

import (
	"context"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// tellEvery is how often the log hears of a collector that takes nothing.
const tellEvery = time.Minute

// exporter counts and logs what becomes of spans. The SDK would tell its global handler.
type exporter struct {
	sdktrace.SpanExporter
	c    Config
	ctx  context.Context // of exports; ends with stop
	stop context.CancelFunc

	mu   sync.Mutex // guards what follows
	told time.Time
	lost int // since then
}

func newExporter(to sdktrace.SpanExporter, c Config) *exporter {
	e := &exporter{SpanExporter: to, c: c}
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e
}

// ExportSpans is called by one goroutine of the SDK, which ends with the provider.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		e.c.Count("exported", len(spans))
		return nil
	}
	e.c.Count("failed", len(spans))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost += len(spans)
	if time.Since(e.told) >= tellEvery {
		e.c.Log.Warn("spans were not taken by the collector, and are lost", "to", e.c.Export.Redacted(), "spans", e.lost, "err", err)
		e.told, e.lost = time.Now(), 0
	}
	return nil
}

// counter counts the spans that are to be exported. Those that neither are nor fail were
// too many for the SDK's queue.
type counter struct{ count func(string, int) }

func (counter) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (c counter) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.SpanContext().IsSampled() {
		c.count("ended", 1)
	}
}

func (counter) Shutdown(context.Context) error   { return nil }
func (counter) ForceFlush(context.Context) error { return nil }

package acme

import (
	"context"
	"log/slog"
	"slices"

	"go.uber.org/zap/zapcore"
)

// core is where certmagic's messages go: our log. What matters to an operator the manager says itself. So its errors are
// warnings here, unless it is the end that they come of; the rest is for debugging, and its own debugging is left out.
type core struct {
	log    *slog.Logger
	life   context.Context
	fields []zapcore.Field
}

// lesser are errors that are said twice (see [Manager.event]), or that anybody can cause who connects.
var lesser = []string{"could not get certificate from issuer", "validating authorization", "tls-alpn challenge"}

func (c core) level(e zapcore.Entry) slog.Level {
	if e.Level >= zapcore.ErrorLevel && !slices.Contains(lesser, e.Message) && c.life.Err() == nil {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// Enabled implements [zapcore.LevelEnabler].
func (c core) Enabled(l zapcore.Level) bool {
	return l >= zapcore.InfoLevel && c.log.Enabled(context.Background(), c.level(zapcore.Entry{Level: l}))
}

// With implements [zapcore.Core].
func (c core) With(fields []zapcore.Field) zapcore.Core {
	return core{c.log, c.life, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check implements [zapcore.Core].
func (c core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Level >= zapcore.InfoLevel && c.log.Enabled(context.Background(), c.level(e)) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements [zapcore.Core].
func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	m := zapcore.NewMapObjectEncoder()
	args := make([]any, 0, 2*(len(c.fields)+len(fields)))
	for _, list := range [][]zapcore.Field{c.fields, fields} {
		for _, f := range list {
			f.AddTo(m)
			v, ok := m.Fields[f.Key]
			if problem, is := v.(map[string]any); is && problem["detail"] != nil { // RFC 7807
				v = problem["detail"]
			}
			if ok {
				args = append(args, f.Key, v)
			}
		}
	}
	c.log.Log(context.Background(), c.level(e), "acme: "+e.Message, args...)
	return nil
}

// Sync implements [zapcore.Core].
func (core) Sync() error { return nil }

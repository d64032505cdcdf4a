package gateway

import (
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"warmcgi/internal/config"
)

// compression is what a route compresses, and how.
type compression struct {
	codings []*coding // the one liked best first
	types   []string  // patterns of media types
	min     int64
}

// newCompression is nil where nothing is compressed.
func newCompression(c config.Compress) *compression {
	if len(c.With) == 0 {
		return nil
	}
	k := &compression{types: c.Types, min: int64(c.Min)}
	for _, name := range c.With {
		k.codings = append(k.codings, codings[name])
	}
	return k
}

// encoder is what the libraries for both codings are alike in.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// coding is one of HTTP's content codings, with the encoders that are free.
type coding struct {
	name string
	free sync.Pool
}

// codings are all there are. Level and window are for answers that are made while the
// client waits: a better ratio costs more time than it saves on the way. No encoder has
// goroutines.
var codings = map[config.Coding]*coding{
	config.CodingGzip: {name: "gzip", free: sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, 5) // the level is one that there is
		return w
	}}},
	config.CodingZstd: {name: "zstd", free: sync.Pool{New: func() any {
		w, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
			zstd.WithWindowSize(512<<10), zstd.WithLowerEncoderMem(true))
		return w
	}}},
}

// compressor is an answer's encoder, between the exchange and what sends its octets.
type compressor struct {
	x       *exchange
	coding  *coding
	enc     encoder
	pending bool // there is something to flush
	in, out int64
}

// Write takes octets of the answer as the script has made it.
func (c *compressor) Write(b []byte) (int, error) {
	c.pending = true
	c.in += int64(len(b))
	return c.enc.Write(b)
}

// flush sends what has come so far, so that the client can decode all of it.
func (c *compressor) flush() error {
	if !c.pending {
		return nil
	}
	c.pending = false
	return c.enc.Flush()
}

// compressed is where the encoder writes to.
type compressed struct{ *compressor }

func (c compressed) Write(b []byte) (int, error) {
	n, err := c.x.ResponseWriter.Write(b)
	c.out += int64(n)
	c.x.bytes += int64(n)
	return n, err
}

// compress decides about the answer whose head is about to be sent, and changes the head.
func (x *exchange) compress(k *compression, code int) {
	h := x.Header()
	switch code {
	case http.StatusNotModified:
		x.weakenUnchanged(h)
		return
	case http.StatusNoContent, http.StatusResetContent, http.StatusPartialContent:
		return
	}
	if !k.fits(h) || !x.r.ProtoAtLeast(1, 1) {
		return
	}
	if !listed(h["Vary"], "Accept-Encoding") && !listed(h["Vary"], "*") {
		h["Vary"] = append(h["Vary"][:len(h["Vary"]):len(h["Vary"])], "Accept-Encoding")
	}
	c := k.choose(x.r.Header["Accept-Encoding"])
	if c == nil {
		return
	}
	h["Content-Encoding"] = []string{c.name}
	delete(h, "Content-Length")
	delete(h, "Accept-Ranges") // they would be those of what is not sent
	for i, tag := range h["Etag"] {
		h["Etag"][i] = weak(tag)
	}
	if x.r.Method == http.MethodHead {
		return
	}
	x.comp = &compressor{x: x, coding: c, enc: c.free.Get().(encoder)}
	x.comp.enc.Reset(compressed{x.comp})
}

// fits reports whether an answer is worth being compressed, and may be.
func (k *compression) fits(h http.Header) bool {
	if len(h["Content-Encoding"]) > 0 || len(h["Content-Range"]) > 0 || listed(h["Cache-Control"], "no-transform") {
		return false
	}
	for _, digest := range []string{"Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		if len(h[digest]) > 0 {
			return false // of the octets as they are
		}
	}
	if length := h["Content-Length"]; len(length) > 0 {
		if n, err := strconv.ParseInt(length[0], 10, 64); err == nil && n < k.min {
			return false
		}
	}
	if len(h["Content-Type"]) == 0 {
		return false
	}
	ctype, _, _ := strings.Cut(h["Content-Type"][0], ";")
	ctype = strings.ToLower(strings.TrimSpace(ctype))
	for _, pattern := range k.types {
		if ok, _ := path.Match(pattern, ctype); ok {
			return true
		}
	}
	return false
}

// choose is the coding that the client likes best, and of those that it likes as much the
// one that we do; nil: none.
func (k *compression) choose(accept []string) *coding {
	var best *coding
	most := 0
	for _, c := range k.codings {
		if q := quality(accept, c.name); q > most {
			best, most = c, q
		}
	}
	if best != nil && quality(accept, "identity") > most {
		return nil // it would rather have it as it is
	}
	return best
}

// quality is how much a client likes a coding (RFC 9110 section 12.5.3), in thousandths;
// 0: not at all, or it does not say so.
func quality(accept []string, coding string) int {
	any := 0
	for _, field := range accept {
		for item := range strings.SplitSeq(field, ",") {
			name, params, _ := strings.Cut(item, ";")
			switch name = strings.TrimSpace(name); {
			case strings.EqualFold(name, coding), coding == "gzip" && strings.EqualFold(name, "x-gzip"):
				return weight(params)
			case name == "*" && coding != "identity":
				any = weight(params)
			}
		}
	}
	return any
}

// weight reads a q-value (RFC 9110 section 12.4.2). One that is none counts as 0.
func weight(params string) int {
	for p := range strings.SplitSeq(params, ";") {
		name, value, ok := strings.Cut(p, "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return int(q * 1000)
	}
	return 1000
}

// listed reports whether a field that is a list has a member.
func listed(values []string, member string) bool {
	for _, field := range values {
		for item := range strings.SplitSeq(field, ",") {
			if strings.EqualFold(strings.TrimSpace(item), member) {
				return true
			}
		}
	}
	return false
}

// weak is an entity tag for what means the same, but is not the same octets.
func weak(tag string) string {
	if strings.HasPrefix(tag, `"`) {
		return "W/" + tag
	}
	return tag
}

// weakenUnchanged gives a 304 the tag that the client has: the script, or a file, only
// knows its own strong one, by which no cache would find a compressed answer (RFC 9111
// section 4.3.4).
func (x *exchange) weakenUnchanged(h http.Header) {
	for i, tag := range h["Etag"] {
		if strings.HasPrefix(tag, `"`) && listed(x.r.Header["If-None-Match"], weak(tag)) {
			h["Etag"][i] = weak(tag)
			if !listed(h["Vary"], "Accept-Encoding") {
				h.Add("Vary", "Accept-Encoding")
			}
		}
	}
}

// endCompression sends what the encoder still holds, if the answer is complete. Else the
// client must be able to tell: a decoder misses the end.
func (x *exchange) endCompression(complete bool) {
	c := x.comp
	if c == nil {
		return
	}
	if complete {
		x.stallAfter()
		c.enc.Close() // a client that has gone is no news any more
	}
	x.comp = nil
	c.enc.Reset(nil)
	c.coding.free.Put(c.enc)
	x.s.metrics.compressed.WithLabelValues(c.coding.name, "in").Add(float64(c.in))
	x.s.metrics.compressed.WithLabelValues(c.coding.name, "out").Add(float64(c.out))
}

// compressFrom compresses what a reader has.
func (x *exchange) compressFrom(r io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{x.comp}, struct{ io.Reader }{r}, *buf)
}

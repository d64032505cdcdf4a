package gateway

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
	"sync/atomic"
)

// ids makes request ids: a random part for the gateway's run, and a number. They are
// short, differ between gateways, and are no secret.
type ids struct {
	prefix string
	n      atomic.Uint64
}

func newIDs() *ids {
	var b [5]byte
	rand.Read(b[:])
	return &ids{prefix: hex.EncodeToString(b[:]) + "-"}
}

func (i *ids) next() string { return i.prefix + strconv.FormatUint(i.n.Add(1), 36) }

// maxID is the longest request id that is taken from others: it goes into every line of
// the logs.
const maxID = 128

// takeID gives the request its id: that of the front server or of a trusted proxy, so that
// the lines of all logs can be found by it, or one of our own. Scripts see no other one.
func (x *exchange) takeID() {
	field := x.r.Header["X-Request-Id"]
	x.id = cmp.Or(validID(x.params.Get("UNIQUE_ID")), validID(x.params.Get("REQUEST_ID")))
	if x.id == "" && x.client.trusted && len(field) == 1 {
		x.id = validID(field[0])
	}
	if x.id == "" {
		x.id = x.s.ids.next()
	}
	x.idField[0] = x.id
	if field != nil {
		x.r.Header["X-Request-Id"] = x.idField[:]
	}
}

// validID is an id that is fit for logs and fields, or "".
func validID(id string) string {
	if len(id) > maxID || strings.ContainsFunc(id, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-_@+/=.:", c))
	}) {
		return ""
	}
	return id
}

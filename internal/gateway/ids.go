package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
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

package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tg123/go-htpasswd"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/semaphore"
)

// What one look at a password may cost: about a second, of the slowest hash there may be.
const (
	maxBcryptCost  = 14
	maxCryptRounds = 500_000
	// maxPassword is more than htpasswd takes. The work of crypt(3) grows with the
	// square of a password's length, and a head has room for a long one.
	maxPassword = 256
)

// Passwords are hashed by few at a time, or who guesses them would have all processors.
const (
	maxHashWaits = 256
	hashWait     = 10 * time.Second
)

var (
	// errCostly: a hash that takes so long that nobody could wait for it.
	errCostly = errors.New("hash takes too long")
	// errLogins: more passwords are to be looked at than can be.
	errLogins = errors.New("too many passwords to look at")
)

// hashes are the kinds of passwords that count. A plain one does not: every hash of a
// kind that is not known would be one, and whoever has read the file would be in.
var hashes = []htpasswd.PasswdParser{
	htpasswd.AcceptMd5, htpasswd.AcceptSha, acceptBcrypt, htpasswd.AcceptSsha, acceptCrypt,
}

func acceptBcrypt(hash string) (htpasswd.EncodedPasswd, error) {
	if cost, err := bcrypt.Cost([]byte(hash)); err == nil && cost > maxBcryptCost {
		return nil, fmt.Errorf("bcrypt with a cost of %d, the most is %d: %w", cost, maxBcryptCost, errCostly)
	}
	return htpasswd.AcceptBcrypt(hash)
}

func acceptCrypt(hash string) (htpasswd.EncodedPasswd, error) {
	p, err := htpasswd.AcceptCryptSha(hash)
	if p == nil || err != nil {
		return nil, err
	}
	if named, ok := strings.CutPrefix(hash[len(htpasswd.PrefixCryptSha256):], "rounds="); ok {
		digits, _, _ := strings.Cut(named, "$")
		rounds, err := strconv.Atoi(digits)
		if err != nil {
			return nil, errors.New("crypt with rounds that are no number")
		}
		if rounds > maxCryptRounds {
			return nil, fmt.Errorf("crypt with %d rounds, the most is %d: %w", rounds, maxCryptRounds, errCostly)
		}
	}
	return p, nil
}

// hashers lets few passwords be hashed at a time, and a bounded number wait.
type hashers struct {
	log   *slog.Logger
	sem   *semaphore.Weighted
	busy  atomic.Int64 // hashing and waiting
	wait  time.Duration
	limit int64
}

// newHashers leaves the other half of the processors to everybody else.
func newHashers(log *slog.Logger) *hashers {
	n := int64(max(1, processors()/2))
	return &hashers{log: log, sem: semaphore.NewWeighted(n), wait: hashWait, limit: n + maxHashWaits}
}

// do calls f when it is its turn. The error is an errLogins, or the context's.
func (h *hashers) do(ctx context.Context, f func()) error {
	defer h.busy.Add(-1)
	if h.busy.Add(1) > h.limit {
		return fmt.Errorf("%w: %d wait", errLogins, maxHashWaits)
	}
	bounded, cancel := context.WithTimeout(ctx, h.wait)
	defer cancel()
	if err := h.sem.Acquire(bounded, 1); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: not within %v", errLogins, h.wait)
	}
	defer h.sem.Release(1)
	f()
	return nil
}

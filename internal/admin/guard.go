package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
)

// Guard says who may come in.
type Guard struct {
	// Token is what they have to bring; "" is nothing.
	Token string
	// Private: who reaches the door was let in already, by the system (a Unix socket) or by
	// TLS. Such a door can't be reached under a name of somebody else's, so names don't matter.
	Private bool
	// Hosts are names by which the door may be called, beside those of this machine itself.
	Hosts []string
}

// ControlHeader is what a request for control has to have where there is no token. A web page
// of somebody else's can't send it without asking first, and is not allowed to.
const ControlHeader = "X-Warmcgi-Control"

const (
	minToken = 16
	maxToken = 4096
)

// ReadToken finds the token: in a file, or in an environment variable.
func ReadToken(file, variable string) (string, error) {
	if variable != "" {
		v, ok := os.LookupEnv(variable)
		if !ok {
			return "", fmt.Errorf("admin token: the environment variable %s is not set", variable)
		}
		t, err := checkToken(v)
		if err != nil {
			return "", fmt.Errorf("admin token of the environment variable %s: %w", variable, err)
		}
		return t, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("admin token: %w", err)
	}
	defer f.Close()
	b := make([]byte, maxToken+3)
	n, err := f.Read(b)
	if n == 0 && err != nil {
		return "", fmt.Errorf("admin token of %s: it can't be read, or is empty: %w", file, err)
	}
	t, err := checkToken(string(b[:n]))
	if err != nil {
		return "", fmt.Errorf("admin token of %s: %w", file, err)
	}
	return t, nil
}

func checkToken(s string) (string, error) {
	s = strings.TrimRight(s, "\r\n")
	switch {
	case len(s) < minToken:
		return "", fmt.Errorf("it has %d characters, at least %d are needed (openssl rand -hex 32 makes a good one)", len(s), minToken)
	case len(s) > maxToken:
		return "", fmt.Errorf("it has more than %d characters", maxToken)
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("it must be one line of visible ASCII characters, without blanks")
	}
	return s, nil
}

// refusal is why somebody is not let in.
type refusal struct {
	code      int
	why, text string // for the metric, and for a person
}

// local lets in who calls the door by a name of its own (against DNS rebinding: a web page
// whose name suddenly is 127.0.0.1).
func (d *Door) local(next http.HandlerFunc) http.Handler { return d.guarded(next, false, false) }

// reads lets in who may see what there is.
func (d *Door) reads(next http.HandlerFunc) http.Handler { return d.guarded(next, true, false) }

func (d *Door) guarded(next http.HandlerFunc, token, control bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if no := d.c.Guard.refuses(r, token, control); no != nil {
			d.metrics.refused.WithLabelValues(no.why).Inc()
			d.logRefusal(r, no)
			if no.code == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="warmcgi"`)
			}
			refuse(w, no.code, no.text)
			return
		}
		next(w, r)
	})
}

// refuses says why a request is not let in; nil: it is.
func (g *Guard) refuses(r *http.Request, token, control bool) *refusal {
	if !g.Private && g.Token == "" && !g.isOwnName(r.Host) {
		return &refusal{http.StatusMisdirectedRequest, "host", fmt.Sprintf("the admin door is not called %q: use localhost or its address, "+
			"or add the name to allow_hosts of the configuration", r.Host)}
	}
	if token && g.Token != "" && !g.hasToken(r) {
		text := "the admin door wants its token, as Authorization: Bearer TOKEN"
		if r.Header.Get("Authorization") != "" {
			text = "the token is wrong"
		}
		return &refusal{http.StatusUnauthorized, "token", text}
	}
	if !control {
		return nil
	}
	var pages http.CrossOriginProtection
	if err := pages.Check(r); err != nil {
		return &refusal{http.StatusForbidden, "origin", "a page of another origin can't control the gateway: " + err.Error()}
	}
	if g.Token == "" && r.Header.Get(ControlHeader) == "" {
		return &refusal{http.StatusForbidden, "header", "control wants the header " + ControlHeader + ": 1, which no web page of somebody else's can send"}
	}
	return nil
}

func (g *Guard) hasToken(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	// Of equal length, so that time tells nothing of it.
	got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(g.Token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// isOwnName reports whether a Host field names this machine, or the door.
func (g *Guard) isOwnName(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(strings.TrimSuffix(host, "."), "[]"))
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return true
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		slices.ContainsFunc(g.Hosts, func(h string) bool { return strings.EqualFold(strings.Trim(h, "[]"), host) })
}

// who says where a request comes from, for the log and the status.
func who(r *http.Request) string {
	from := r.RemoteAddr
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	if from == "" || from == "@" {
		from = "unix socket"
		if u, ok := r.Context().Value(peerKey{}).(string); ok {
			from += " of " + u
		}
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		if cn := r.TLS.PeerCertificates[0].Subject.CommonName; cn != "" {
			return cn + " at " + from
		}
	}
	return from
}

package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// LetsEncrypt is the directory of Let's Encrypt.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// ACME gets a certificate for each host from an authority that speaks ACME (RFC 8555), and renews it in time. The authority
// asks the gateway itself whether the host is its own: at port 80, which must lead to an http door (http-01), or at port 443,
// which must lead to this door (tls-alpn-01). See docs/fronting.md.
type ACME struct {
	// Names to get certificates for; no other name gets one. Left out: all that routes have as host, but for addresses and
	// those with a *. A client that does not say which name it wants (SNI) gets the first one's.
	Hosts Hosts `yaml:"hosts"`

	// Where the authority can write to. Left out: that of another acme block, or none.
	Email string `yaml:"email"`

	// true says that you accept the authority's terms of service, which it asks of those who open an account. It must be
	// true. Default: false.
	AcceptTerms bool `yaml:"accept_terms"`

	// URL of the authority's directory. https://acme-staging-v02.api.letsencrypt.org/directory is Let's Encrypt's for
	// trials: browsers don't trust its certificates, and it is generous with them.
	// Default: https://acme-v02.api.letsencrypt.org/directory.
	Directory string `yaml:"directory"`

	// PEM file of the certificates that the directory's must be signed by, for an authority of your own. Left out: those
	// that the system trusts.
	CA string `yaml:"ca" path:"file"`

	// Folder for accounts, keys and certificates, which is made if it is not there, and must be open to the gateway's user
	// alone (0700). Gateways that share it get one certificate together. Left out: acme in the folder that systemd names
	// (STATE_DIRECTORY), or else /var/lib/warmcgi/acme.
	Storage string `yaml:"storage" path:"folder"`

	// How the gateway may show that a host is its own. Left out: tls-alpn-01, and http-01 if there is an http door.
	Challenges []Challenge `yaml:"challenges"`

	// Kind of certificate, where the authority has several, such as shortlived.
	Profile string `yaml:"profile"`

	// The account with the authority that certificates are for (external account binding), where it wants one.
	ExternalAccount *ExternalAccount `yaml:"external_account"`
}

// ExternalAccount is what an authority gives to those who have an account with it.
type ExternalAccount struct {
	// The account's id.
	ID string `yaml:"id" jsonschema:"required"`

	// The account's key for message authentication, in base64url: "${ACME_KEY}".
	Key string `yaml:"key" jsonschema:"required"`
}

// Challenge is a way to show that a host is one's own.
type Challenge string

// The values of ACME.Challenges.
const (
	ChallengeHTTP    Challenge = "http-01"
	ChallengeTLSALPN Challenge = "tls-alpn-01"
)

func (Challenge) words() []string { return []string{"http-01", "tls-alpn-01"} }

func (a *ACME) setDefaults(*Config) { a.Directory = LetsEncrypt }

// checkDoorTLS is for doors that may have a certificate.
func (d *decoder) checkDoorTLS(key, kind string, t *DoorTLS) {
	if t == nil || !d.isBlock(key) {
		return
	}
	if !d.src.has(key + ".acme") {
		for _, k := range []string{"cert", "key"} {
			switch {
			case d.src.has(key + "." + k):
			case kind == "https" && !d.src.has(key+".cert") && !d.src.has(key+".key"):
				d.refuse(d.src.key(key, "needs cert and key, or acme"))
			default:
				d.refuse(d.src.key(key+"."+k, "is missing"))
			}
		}
		return
	}
	for _, k := range []string{"cert", "key"} {
		if d.src.has(key + "." + k) {
			d.refuse(d.src.key(key+"."+k, "cannot stand beside acme, which gets the certificate itself"))
		}
	}
	if kind != "https" {
		d.refuse(d.src.key(key+".acme", "goes with https only"))
	}
	if t.ACME != nil && d.isBlock(key+".acme") {
		d.checkACME(key+".acme", t.ACME)
	}
}

func (d *decoder) checkACME(key string, a *ACME) {
	d.checkNotEmpty(key+".hosts", len(a.Hosts))
	for i, h := range a.Hosts {
		at := key + ".hosts"
		if item := at + "[" + strconv.Itoa(i) + "]"; d.src.has(item) {
			at = item
		}
		switch {
		case strings.HasPrefix(string(h), "*."):
			d.refuse(d.src.value(at, "%s: a certificate for all names below a domain can't be got this way: write the names (only dns-01 could, which the gateway does not speak)", h))
		case isAddress(string(h)):
			d.refuse(d.src.value(at, "%s is an address: certificates are for names here", h))
		case slices.Index(a.Hosts, h) < i:
			d.refuse(d.src.value(at, "%s stands here twice", h))
		}
	}
	if !a.AcceptTerms {
		p := d.src.value
		if !d.src.has(key + ".accept_terms") {
			p = d.src.key
		}
		d.refuse(p(key+".accept_terms", "must be true: it says that you accept the terms of service of the authority at %s", a.Directory))
	}
	d.checkLine(key+".profile", a.Profile)
	if strings.ContainsAny(a.Email, " <>,") || a.Email != "" && strings.Count(a.Email, "@") != 1 {
		d.refuse(d.src.value(key+".email", "%q is not a mail address", a.Email))
	}
	if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		d.refuse(d.src.value(key+".directory", "%q is not the URL of a directory: it begins with https://", a.Directory))
	}
	d.checkNotEmpty(key+".challenges", len(a.Challenges))
	if slices.Contains(a.Challenges, ChallengeHTTP) && !d.root.hasHTTPDoor() {
		d.refuse(d.src.value(key+".challenges", "http-01 needs an http door, and there is none"))
	}
	d.completeACME(key, a)
}

// completeACME fills in what depends on the rest of the file, and on where the gateway runs.
func (d *decoder) completeACME(key string, a *ACME) {
	if !d.src.has(key + ".hosts") {
		for i := range d.root.Routes {
			for _, h := range d.root.Routes[i].Host {
				if !strings.HasPrefix(string(h), "*.") && !isAddress(string(h)) && !slices.Contains(a.Hosts, h) {
					a.Hosts = append(a.Hosts, h)
				}
			}
		}
		if len(a.Hosts) == 0 {
			d.refuse(d.src.key(key, "needs hosts: no route names one (host:)"))
		}
	}
	if !d.src.has(key + ".challenges") {
		a.Challenges = []Challenge{ChallengeTLSALPN}
		if d.root.hasHTTPDoor() {
			a.Challenges = append(a.Challenges, ChallengeHTTP)
		}
	}
	if !d.src.has(key + ".storage") {
		folder := "/var/lib/warmcgi"
		if named, ok := d.lookup("STATE_DIRECTORY"); ok && named != "" {
			folder, _, _ = strings.Cut(named, ":")
		}
		a.Storage = filepath.Join(folder, "acme")
	}
}

func (c *Config) hasHTTPDoor() bool {
	return slices.ContainsFunc(c.Listen, func(l Listener) bool { return !l.HTTP.IsZero() })
}

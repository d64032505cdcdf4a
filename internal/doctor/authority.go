package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"warmcgi/internal/acme"
	"warmcgi/internal/config"
)

// authorityTime is how long an authority may take to answer, and how long names may take to be looked up.
const authorityTime = 10 * time.Second

// directoryMax is the most of an authority's answer that is read.
const directoryMax = 1 << 20

// An authority is one that certificates of doors come from.
type authority struct{ acme *config.ACME }

func authoritiesOf(c *config.Config) (all []authority) {
	for i := range c.Listen {
		if t := c.Listen[i].TLS; t != nil && t.ACME != nil {
			all = append(all, authority{t.ACME})
		}
	}
	return all
}

// examine reads the authority's directory, which costs nobody anything, and looks the hosts up.
func (a authority) examine(ctx context.Context, o Options) Patient {
	p := Patient{Kind: KindAuthority, Name: a.acme.Directory}
	timeout := authorityTime
	if o.Timeout > 0 {
		timeout = min(timeout, o.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	d, err := a.directory(ctx)
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown) && a.acme.CA == "":
		p.add(fault("if it is an authority of your own: `ca` names the file of what its certificate is signed by", "is not trusted: %v", err))
	case errors.As(err, &unknown):
		p.add(fault("`ca` must hold what the directory's own certificate is signed by", "is not trusted: %v", err))
	case err != nil:
		p.add(fault("no certificate can be got or renewed", "can't be asked: %v", err))
	default:
		p.add(d.findings(a.acme)...)
	}
	for _, host := range a.acme.Hosts {
		if _, err := net.DefaultResolver.LookupHost(ctx, string(host)); err != nil {
			p.add(warning("the authority looks the name up, and asks for proof where it leads to", "host %s leads nowhere, as seen from here: %v", host, err))
		}
	}
	return p
}

// directory is what RFC 8555 section 7.1.1 says of it, as far as it is wanted.
type directory struct {
	NewOrder string `json:"newOrder"`
	Meta     struct {
		ExternalAccountRequired bool              `json:"externalAccountRequired"`
		Profiles                map[string]string `json:"profiles"`
	} `json:"meta"`
}

func (a authority) directory(ctx context.Context) (d directory, err error) {
	secret := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.acme.CA != "" {
		pem, err := os.ReadFile(a.acme.CA)
		if err != nil {
			return d, err
		}
		if secret.RootCAs, err = acme.Roots(pem); err != nil {
			return d, err
		}
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: secret, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.acme.Directory, nil)
	if err != nil {
		return d, err
	}
	res, err := client.Do(r)
	if err != nil {
		return d, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return d, fmt.Errorf("it answers %s", res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, directoryMax)).Decode(&d); err != nil || d.NewOrder == "" {
		return d, errors.New("what is there is no directory of an ACME authority")
	}
	return d, nil
}

// findings are what the authority wants, and the configuration does not say.
func (d directory) findings(a *config.ACME) (list []Finding) {
	if d.Meta.ExternalAccountRequired && a.ExternalAccount == nil {
		list = append(list, fault("`external_account` has the id and key that it gives you", "wants to know whose account it is"))
	}
	if _, known := d.Meta.Profiles[a.Profile]; a.Profile != "" && !known {
		list = append(list, fault("", "has no profile %q; it has: %s", a.Profile, strings.Join(slices.Sorted(maps.Keys(d.Meta.Profiles)), ", ")))
	}
	return list
}

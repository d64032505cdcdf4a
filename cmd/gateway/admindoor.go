package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"warmcgi/internal/admin"
	"warmcgi/internal/config"
)

// adminFlags say where the admin door is, and what opens it.
type adminFlags struct {
	Config    string `short:"c" placeholder:"FILE" help:"Configuration file, for its admin: address and token."`
	Admin     string `placeholder:"ADDR" help:"The admin door: HOST:PORT or unix:/path (default: the configuration's, or 127.0.0.1:9180)."`
	TokenFile string `type:"path" placeholder:"FILE" help:"File with the admin door's token (default: the configuration's)."`
	Cert      string `type:"path" placeholder:"FILE" help:"Certificate for an admin door that wants one (PEM)."`
	Key       string `type:"path" placeholder:"FILE" help:"Its private key (PEM)."`
}

// adminTime is how long an admin door may take to tell something: it never waits for a script.
const adminTime = 5 * time.Second

// defaultAdmin is where the examples of the documentation have the admin door.
const defaultAdmin = "127.0.0.1:9180"

// adminDoor asks a running gateway.
type adminDoor struct {
	addr   config.Address
	base   string
	token  string
	client http.Client
}

// door finds the admin door.
func (f *adminFlags) door() (*adminDoor, error) {
	var c config.Admin
	if f.Config != "" {
		conf, err := loadConfig(f.Config)
		if err != nil {
			return nil, err
		}
		if c = conf.Admin; c.IsZero() && f.Admin == "" {
			return nil, errors.New("the configuration has no admin: address, so there is nobody to ask")
		}
	}
	addr := f.Admin
	if addr == "" && c.IsZero() {
		addr = defaultAdmin
	}
	if addr != "" {
		var err error
		if c.Listen, err = config.ParseAddress(addr); err != nil {
			return nil, fmt.Errorf("--admin %s: %w", addr, err)
		}
	}
	if f.TokenFile != "" {
		c.TokenFile, c.TokenEnv = f.TokenFile, ""
	}
	return f.open(&c)
}

func (f *adminFlags) open(c *config.Admin) (*adminDoor, error) {
	d := &adminDoor{addr: c.Listen, base: "http://localhost"}
	if c.HasToken() {
		var err error
		if d.token, err = admin.ReadToken(c.TokenFile, c.TokenEnv); err != nil {
			return nil, err
		}
	}
	if c.Listen.Network() == "systemd" {
		return nil, fmt.Errorf("%s is not known outside of the gateway: give its address as --admin", c.Listen)
	}
	t := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, c.Listen.Network(), c.Listen.Addr())
		},
	}
	if c.TLS != nil {
		d.base = "https://localhost"
		var err error
		if t.TLSClientConfig, err = f.secret(c.TLS.Cert); err != nil {
			return nil, err
		}
	}
	d.client = http.Client{Transport: t}
	return d, nil
}

// secret believes exactly the certificate that the configuration has for the door, whatever
// its name is.
func (f *adminFlags) secret(cert string) (*tls.Config, error) {
	b, err := os.ReadFile(cert)
	if err != nil {
		return nil, fmt.Errorf("the admin door's certificate: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("the admin door's certificate %s is not PEM", cert)
	}
	c := &tls.Config{
		InsecureSkipVerify: true, // see VerifyPeerCertificate
		VerifyPeerCertificate: func(chain [][]byte, _ [][]*x509.Certificate) error {
			if len(chain) == 0 || !bytes.Equal(chain[0], block.Bytes) {
				return fmt.Errorf("its certificate is not that of %s", cert)
			}
			return nil
		},
	}
	if f.Cert != "" || f.Key != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("--cert and --key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// get asks for a path.
func (d *adminDoor) get(path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), adminTime)
	defer cancel()
	return d.ask(ctx, http.MethodGet, path, nil)
}

// read asks for a path whose answer is JSON.
func (d *adminDoor) read(path string, into any) error {
	body, err := d.get(path)
	if err != nil {
		return err
	}
	return d.understand(body, into)
}

func (d *adminDoor) understand(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the admin door %s says something else: %w", d.addr, err)
	}
	return nil
}

// act has the gateway do something, as long as it takes, and returns what it has done. The body, if there is one, goes as JSON.
func (d *adminDoor) act(method, path string, body any) (string, error) {
	answer, err := d.ask(context.Background(), method, path, body)
	if err != nil {
		return "", err
	}
	var what struct{ Done string }
	err = d.understand(answer, &what)
	return what.Done, err
}

func (d *adminDoor) ask(ctx context.Context, method, path string, body any) ([]byte, error) {
	res, err := d.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(io.LimitReader(res.Body, 64<<20))
}

// refusedError is what an admin door has said in place of what was asked for.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string { return e.text }

// send returns the answer where it is 200. Others are a *refusedError.
func (d *adminDoor) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, d.base+path, in)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Warmcgi-Control", "1")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if d.token != "" {
		r.Header.Set("Authorization", "Bearer "+d.token)
	}
	res, err := d.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("no admin door answers at %s: %w\n"+
			"Does the gateway run, and has its configuration this address as `admin:`? -c FILE or --admin ADDR name another", d.addr, errors.Unwrap(err))
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var no struct{ Error string }
	if json.Unmarshal(said, &no) == nil && no.Error != "" {
		hint := ""
		if res.StatusCode == http.StatusUnauthorized {
			hint = "\nGive --token-file FILE, or -c FILE of the configuration that names it"
		}
		return nil, &refusedError{res.StatusCode, fmt.Sprintf("the admin door %s says: %s%s", d.addr, visibleLines(no.Error), hint)}
	}
	return nil, &refusedError{res.StatusCode, fmt.Sprintf("%s is no admin door: it answers %s to %s", d.addr, res.Status, path)}
}

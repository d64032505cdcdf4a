package config

// Admin is the door for those who run the gateway. What it has is in docs/admin-api.md and docs/dashboard.md.
type Admin struct {
	// Address: HOST:PORT, unix:/path or systemd:NAME. An address that other machines can reach needs a token, or tls with
	// client_ca. A Unix socket is for the gateway's own user alone.
	Listen Address `yaml:"listen" jsonschema:"required"`

	// File that holds the token: 16 characters or more in one line, without blanks. With a token, everything but the
	// page itself, /healthz and /readyz wants it, as "Authorization: Bearer TOKEN". It is read at the start.
	TokenFile string `yaml:"token_file" path:"file"`

	// Name of the gateway's own environment variable that holds the token, in place of token_file.
	TokenEnv string `yaml:"token_env"`

	// Certificate and key, for HTTPS. With client_ca only those get in that have a certificate of it.
	TLS *TLS `yaml:"tls"`

	// Further names by which browsers may call the door, without a port: of a proxy in front of it, or of an SSH tunnel.
	// Where neither a token nor TLS guards it, only localhost, loopback addresses and the name or address of listen are
	// answered, so that no web page can reach the door by a name of its own.
	AllowHosts []string `yaml:"allow_hosts"`

	// Whether Go's profiles are at /debug/pprof/. Default: false.
	Pprof bool `yaml:"pprof"`

	// Whether the query of a request's URL is shown too; it may hold secrets. Default: false.
	ShowQueries bool `yaml:"show_queries"`
}

// IsZero tells whether there is no admin door.
func (a Admin) IsZero() bool { return a.Listen.IsZero() }

// HasToken tells whether the door wants a token.
func (a Admin) HasToken() bool { return a.TokenFile != "" || a.TokenEnv != "" }

// WantsCertificate tells whether only those get in that have a certificate.
func (a Admin) WantsCertificate() bool { return a.TLS != nil && a.TLS.ClientCA != "" }

// short: the address may stand alone.
func (Admin) short() string { return "listen" }

// Package config reads the gateway's YAML file.
//
// The structs here are the file: a field's yaml tag is the key, its type says what may stand there, and its doc
// comment is what [Reference] prints and what an editor shows through [Schema]. Load returns final values: a route
// holds its own settings over those of defaults over the built-in ones.
package config

// Config is the whole file. Relative paths in it are relative to the folder the file lies in. ${VAR} in a value is
// the gateway's own environment variable VAR, an unset one is an error; $${ is a plain ${. Between { } or [ ] put
// such a value in quotes.
type Config struct {
	// The doors: where the gateway accepts requests. All doors serve the same routes.
	Listen []Listener `yaml:"listen" jsonschema:"required"`

	// The admin door: dashboard, metrics, health and control. It is off if this is left out. Its address may stand here
	// alone, as in admin: 127.0.0.1:9180.
	Admin Admin `yaml:"admin"`

	// Folder that DOCUMENT_ROOT and PATH_TRANSLATED are made from, in every route that has no document_root itself.
	DocumentRoot string `yaml:"document_root" path:"folder"`

	// SERVER_ADMIN for the scripts, usually a mail address. Not set if left out.
	ServerAdmin string `yaml:"server_admin"`

	// Peers whose X-Forwarded-*, Forwarded and X-Request-Id fields and PROXY protocol header are believed. Without it, none are.
	TrustedProxies Prefixes `yaml:"trusted_proxies"`

	// Changes of the fields of every answer. Those of a route come after them.
	Headers *Headers `yaml:"headers"`

	// Traces of requests. Left out: there are none.
	Tracing *Tracing `yaml:"tracing"`

	// Access log, and the gateway's own log.
	Log Log `yaml:"log"`

	// The whole base environment of every script; nothing of the gateway's own environment is passed on. PATH
	// keeps its default unless it is set here. Default: {PATH: "/usr/local/bin:/usr/bin:/bin"}.
	Env Env `yaml:"env"`

	// The most script processes that run at once, over all scripts and routes. 0 is chosen from the machine.
	// Default: 0.
	MaxProcesses int `yaml:"max_processes"`

	// The most memory that warm parents and workers may use together (proportional set size). Beyond it the scripts
	// that nobody has asked for the longest go back to mode spawn. 0 is half of the machine's. Default: 0.
	WarmMemory Size `yaml:"warm_memory"`

	// Settings of every route that does not say otherwise. A route replaces single values: its
	// timeout: {idle: 5s} leaves first_byte, total and grace as they are here.
	Defaults Settings `yaml:"defaults"`

	// What is served where. The longest matching path wins; the order does not matter. May be left out only if a
	// fastcgi door has scripts.
	Routes []Route `yaml:"routes"`

	// Notes are what is no error, but may not do what it seems to.
	Notes []*Error `yaml:"-"`

	src *source
}

// Listener is one door. It has exactly one of http, https and fastcgi.
type Listener struct {
	// Address for plain HTTP.
	HTTP Address `yaml:"http"`

	// Address for HTTP over TLS. It needs tls.
	HTTPS Address `yaml:"https"`

	// Address for FastCGI from a front server such as nginx, Apache or lighttpd. Here the gateway takes the place
	// of fcgiwrap. FastCGI itself has neither secrecy nor identity, and who reaches the door can pass for any user: use a
	// Unix socket, 127.0.0.1, tls:HOST:PORT with a client_ca (for another gateway: nginx and Apache know no FastCGI over
	// TLS), or allow.
	FastCGI Address `yaml:"fastcgi"`

	// Certificate and key of an https door, and of a fastcgi door at a tls: address; or where an https door gets its
	// certificates itself. Refused at the others.
	TLS *DoorTLS `yaml:"tls"`

	// Peers that may connect to a fastcgi door at HOST:PORT or tls:HOST:PORT, as networks or single addresses. Without
	// it, all.
	Allow Prefixes `yaml:"allow"`

	// Folders from which a fastcgi door runs the program that the front server names in SCRIPT_FILENAME, as
	// fcgiwrap does, with the settings of defaults. Without it the door answers by the routes only, and
	// SCRIPT_FILENAME is ignored.
	Scripts []string `yaml:"scripts" path:"folder"`

	// https sends everybody who comes to an http door to the same URL with https: a GET with 301, other methods with 308.
	// Whom a trusted proxy says to have come by https is answered. Left out: the door answers.
	Redirect DoorRedirect `yaml:"redirect"`

	// The port of the URL that redirect: https leads to. 0 is that of the first https door. Default: 0.
	RedirectPort int `yaml:"redirect_port"`

	// Permissions of the door's Unix socket, as an octal number in quotes. Refused at other addresses.
	// Default: "0660".
	SocketMode FileMode `yaml:"socket_mode"`

	// Front, when not nil, answers everything at a fastcgi door in place of the routes: its path is wherever the front
	// server has it. It is not in the file, see [ForHost].
	Front *Route `yaml:"-"`
}

// Door tells which kind of door this is ("http", "https" or "fastcgi") and its address.
func (l *Listener) Door() (kind string, addr Address) {
	switch {
	case !l.HTTP.IsZero():
		return "http", l.HTTP
	case !l.HTTPS.IsZero():
		return "https", l.HTTPS
	default:
		return "fastcgi", l.FastCGI
	}
}

// TLS is the identity of a door.
type TLS struct {
	// PEM file with the certificate, followed by the intermediate certificates.
	Cert string `yaml:"cert" jsonschema:"required" path:"file"`

	// PEM file with the private key of the certificate.
	Key string `yaml:"key" jsonschema:"required" path:"file"`

	// PEM file with the certificates of those who may sign a client's. With it only clients get in that have such a
	// certificate. Without it all do.
	ClientCA string `yaml:"client_ca" path:"file"`
}

// DoorTLS is the identity of a door: cert and key, or acme.
type DoorTLS struct {
	// PEM file with the certificate, followed by the intermediate certificates.
	Cert string `yaml:"cert" path:"file"`

	// PEM file with the private key of the certificate.
	Key string `yaml:"key" path:"file"`

	// Certificates that the gateway gets and renews itself, of an https door. In place of cert and key.
	ACME *ACME `yaml:"acme"`

	// PEM file with the certificates of those who may sign a client's. With it only clients get in that have such a
	// certificate. Without it all do.
	ClientCA string `yaml:"client_ca" path:"file"`
}

// Log says what is logged and where.
type Log struct {
	// The access log: one line per request.
	Access AccessLog `yaml:"access"`

	// The least important messages that the gateway's own log, on standard error, still shows. Default: info.
	Level LogLevel `yaml:"level"`

	// Form of the gateway's own log. Default: text.
	Format LogFormat `yaml:"format"`
}

// AccessLog says where the access log goes.
type AccessLog struct {
	// The word stdout, the word stderr, or a file, which is opened again on SIGUSR1. Default: stdout.
	To string `yaml:"to" path:"stdout, stderr or a file"`

	// combined is the common form of Apache and nginx, json one object per line, off no access log.
	// Default: combined.
	Format AccessFormat `yaml:"format"`
}

const basePath = "/usr/local/bin:/usr/bin:/bin"

// setDefaults fills in what holds where the file says nothing.
func (c *Config) setDefaults(*Config) {
	c.Env = Env{"PATH": basePath}
	c.Log = Log{
		Access: AccessLog{To: "stdout", Format: AccessCombined},
		Level:  LogInfo,
		Format: LogText,
	}
	c.Defaults = builtin()
}

func (l *Listener) setDefaults(*Config) { l.SocketMode = 0o660 }

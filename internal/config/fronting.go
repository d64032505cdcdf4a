package config

// Redirect sends the client to another URL.
type Redirect struct {
	// Where to: a URL, or a path of the same site.
	To string `yaml:"to" jsonschema:"required"`

	// 301 and 308 are for good, and browsers keep them; 302 and 307 are for now; 303 asks with GET. 307 and 308 keep the
	// method, so that a POST stays one. Default: 302.
	Status int `yaml:"status"`

	// What goes with it. all: what the path has behind the route's, and the query, so that /old/a?b at a route /old goes to
	// TO/a?b. query: the query alone. nothing: TO as it stands. Default: all.
	Keep RedirectKeep `yaml:"keep"`
}

// RedirectKeep is what a redirect keeps of the request's URL.
type RedirectKeep string

// The values of Redirect.Keep.
const (
	KeepAll     RedirectKeep = "all"
	KeepQuery   RedirectKeep = "query"
	KeepNothing RedirectKeep = "nothing"
)

func (RedirectKeep) words() []string { return []string{"all", "query", "nothing"} }

// DoorRedirect is where a door sends everybody.
type DoorRedirect string

// The value of Listener.Redirect.
const RedirectHTTPS DoorRedirect = "https"

func (DoorRedirect) words() []string { return []string{"https"} }

// Headers are changes of an answer's fields, made in this order: remove, set, add. Not of what frames the answer
// (Content-Length, Content-Encoding, Transfer-Encoding, Connection and the like), and not of the answers of nph- scripts.
// Error pages have them too.
type Headers struct {
	// Fields that are left out, whoever has set them: [X-Powered-By].
	Remove []string `yaml:"remove"`

	// Fields and their values, in place of what there is: {X-Frame-Options: DENY}.
	Set map[string]string `yaml:"set" scalar:"any"`

	// Fields and their values, beside what there is.
	Add map[string]string `yaml:"add" scalar:"any"`
}

// RequestHeaders are changes of the request's fields as scripts and FastCGI applications see them, in the variables HTTP_*.
// The gateway itself goes by what the client has sent. Host, Proxy, Content-* and the fields of the connection can't be
// changed.
type RequestHeaders struct {
	// Fields that are left out: [X-Forwarded-For].
	Remove []string `yaml:"remove"`

	// Fields and their values: {X-Real-IP: "%{REMOTE_ADDR}"}. %{NAME} stands for a variable of the request, or nothing;
	// %% for a percent sign.
	Set map[string]string `yaml:"set" scalar:"any"`
}

// Compress answers on their way to the client. It is off until with says how. Where a secret and something that the client
// has sent stand in one answer, its length tells of the secret (BREACH): leave it off there.
type Compress struct {
	// The codings, the one liked best first: [zstd, gzip]. The client chooses among them (Accept-Encoding). An empty list,
	// or none, is off.
	With []Coding `yaml:"with"`

	// Media types, with * and ? as in a shell. What has a Content-Encoding already, is a part of something (206) or says
	// no-transform is left as it is.
	// Default: [text/*, application/javascript, application/json, application/xml, application/*+json, application/*+xml, image/svg+xml].
	Types []string `yaml:"types"`

	// The shortest answer that is compressed, where its length is known. Default: 1KiB.
	Min Size `yaml:"min"`
}

// RateLimit bounds how often one client may ask a route; each route counts for itself, also where the limit comes from
// defaults. A client is an IPv4 address, or the /64 network of an IPv6 address, as trusted_proxies tell it. Beyond the limit the
// answer is 429 with Retry-After, before passwords are looked at and before anything is started.
type RateLimit struct {
	// How often, in the long run. 0 is no limit. Default: 0.
	Rate Rate `yaml:"rate"`

	// How many requests may come at once. 0 is as many as rate allows in a second, and at least one. Default: 0.
	Burst int `yaml:"burst"`

	// Clients without a limit, as networks or single addresses.
	Except Prefixes `yaml:"except"`

	// How many clients are known at once; each takes some 300 bytes. Beyond that the one that has not asked for the longest is
	// forgotten, and begins anew. Default: 65536.
	Clients int `yaml:"clients"`
}

// Coding is a way of compressing.
type Coding string

// The values of Compress.With.
const (
	CodingZstd Coding = "zstd"
	CodingGzip Coding = "gzip"
)

func (Coding) words() []string { return []string{"zstd", "gzip"} }

func compressible() []string {
	return []string{
		"text/*", "application/javascript", "application/json", "application/xml", "application/*+json", "application/*+xml", "image/svg+xml",
	}
}

func (r *Redirect) setDefaults(*Config) { r.Status, r.Keep = 302, KeepAll }

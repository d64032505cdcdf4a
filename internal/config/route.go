package config

import (
	"path"
	"time"

	"warmcgi/internal/confine"
)

// Route says what answers under one path: cgi, or fastcgi, or files, or php, or files and php together, or redirect.
type Route struct {
	// The path, not percent-encoded, from the first slash. Without a slash at its end it stands for itself and
	// everything below it: /git takes /git and /git/x, but not /gitx. With one it takes only what is below it.
	Path string `yaml:"path" jsonschema:"required"`

	// The site that the route belongs to, by the name that the client asks for (its Host field): one, or a list. Left out:
	// all. Of routes whose path matches, one with the name itself comes first, then one with *.DOMAIN, the longest domain
	// first, then one without host; only among those that are equal in this the longest path wins. A host that is in no
	// route, where none is without host, is answered with 421.
	Host Hosts `yaml:"host"`

	// CGI programs: one, or a folder of them.
	CGI *CGI `yaml:"cgi"`

	// The files of a folder, with scripts among them if wanted.
	Files *Files `yaml:"files"`

	// A FastCGI application.
	FastCGI *FastCGI `yaml:"fastcgi"`

	// PHP through php-fpm.
	PHP *PHP `yaml:"php"`

	// Another URL, where the client is sent.
	Redirect *Redirect `yaml:"redirect"`

	// Changes of the fields of the route's answers.
	Headers *Headers `yaml:"headers"`

	// Changes of the fields of the request, on its way to the route's scripts and applications.
	RequestHeaders *RequestHeaders `yaml:"request_headers"`

	// Environment variables of this route's scripts, over those of the whole file's env.
	Env Env `yaml:"env"`

	// Who may come in. Without it everybody may.
	Auth *Auth `yaml:"auth"`

	// A FastCGI application that decides about each request, before the route answers it. It is asked behind auth.
	Authorize *Authorize `yaml:"authorize"`

	// hide keeps the request's Authorization field from the script, pass hands it over as HTTP_AUTHORIZATION.
	// Every process on the machine that may read the script's environment then sees it. Default: hide.
	Authorization Authorization `yaml:"authorization"`

	// Programs for files without an execute bit, by the file's extension: {.pl: /usr/bin/perl}. The program is an
	// absolute path.
	Interpreters map[string]string `yaml:"interpreters" path:"absolute path of a program"`

	// inside refuses a file that a symbolic link leads to outside the route's folder, follow serves it.
	// Default: inside.
	Symlinks Symlinks `yaml:"symlinks"`

	// Folders whose files a script may hand over by naming them in X-Sendfile or X-Accel-Redirect. Without it,
	// none.
	XSendfile []string `yaml:"x_sendfile" path:"folder"`

	// Folder for DOCUMENT_ROOT and PATH_TRANSLATED. Left out: the document_root of the whole file, or else the
	// root of the route's files or php.
	DocumentRoot string `yaml:"document_root" path:"folder"`

	// Modules that the warm parent loads besides those it finds in the script itself.
	Preload []string `yaml:"preload"`

	// File of a runner for the route's scripts, in place of the gateway's own: how a script in another language is
	// kept warm, see docs/worker-protocol.md.
	Runner string `yaml:"runner" path:"file"`

	// Run the route's scripts as this user, by name or number, with its groups. USER:GROUP has another primary group.
	// The gateway must be root, or be that user already. Names are looked up at the start and by each reload: in /etc/passwd and
	// /etc/group, or wherever the system looks (NSS: LDAP, sssd) where the gateway was built with cgo. A number with a
	// group needs no entry: 1001:1001. Such a script reads and writes as that user; the environment does not change
	// (HOME and USER are what env says), and setuid programs still work. It needs Linux.
	//
	// owner is who owns the script, under the conditions of Apache's suexec, which each request checks anew: the script and its folder belong to
	// one user and that user's primary group (or group), neither can be written by anybody else, the script is not setuid or setgid,
	// and is in the route's folder when all symbolic links are followed; the user is in /etc/passwd, and not root nor one of the
	// system's (see owner). Beyond suexec, all folders on the way belong to root or to the owner and nobody else can write
	// to them (but /tmp and its like, where each takes away only what is their own), so that nobody can put another file in the checked one's place.
	// What does not hold is refused with 500, a line in the log, and warmcgi_owner_refusals_total. Each owner has warm
	// workers of their own. A user whose name is owner is written as a number.
	User string `yaml:"user"`

	// The primary group of the route's scripts, by name or number, in place of that of user; it is the same as
	// USER:GROUP, but goes with user: owner as well: the files must be of that group then.
	Group string `yaml:"group"`

	// Which owners user: owner runs scripts as.
	Owner *Owner `yaml:"owner"`

	// Limits of the operating system (setrlimit) for every process of the route's scripts. A process that a limit
	// ends has a line in the log, and is counted. In mode spawn they cost some 6 ms of processor time for each
	// request (those of script alone: less than one); warm workers have them for nothing. They need Linux.
	Limits *Limits `yaml:"limits"`

	// Keeps the route's scripts from the rest of the machine. In mode spawn it costs as much as limits do. It needs Linux.
	Sandbox *Sandbox `yaml:"sandbox"`

	// Any key of defaults, for this route alone.
	Settings `yaml:",inline"`

	// RunAs is User with its numbers; nil is the gateway's own user.
	RunAs *confine.User `yaml:"-"`
}

// CGI runs programs as RFC 3875 has it. It has exactly one of program and dir.
type CGI struct {
	// The one program that answers everything under the path; what follows the path is its PATH_INFO.
	Program string `yaml:"program" path:"program"`

	// Arguments of program, one per item. Nothing in them is interpreted.
	Args []string `yaml:"args"`

	// Folder of programs. The path must end with a slash; the rest of the URL names the program and its PATH_INFO.
	Dir string `yaml:"dir" path:"folder"`

	// Names of the programs in dir that may be run, with * and ? as in a shell. Without it, all.
	Only []string `yaml:"only"`

	// Names tried in dir, in this order, when the URL ends at a folder.
	Index []string `yaml:"index"`

	// Show the contents of a folder of dir that has no index. Default: false.
	Listing bool `yaml:"listing"`
}

// Runs reports whether a program of that name may be run: see Only.
func (c *CGI) Runs(name string) bool {
	for _, p := range c.Only {
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return len(c.Only) == 0
}

// Files serves a folder.
type Files struct {
	// The folder.
	Root string `yaml:"root" jsonschema:"required" path:"folder"`

	// Names tried, in this order, when the URL ends at a folder. Default: [index.html].
	Index []string `yaml:"index"`

	// Extensions of the files that are run as CGI programs instead of being sent: [.cgi, .pl]. Without it, none.
	Scripts []string `yaml:"scripts"`

	// Show the contents of a folder that has no index. Default: false.
	Listing bool `yaml:"listing"`
}

// FastCGI hands requests to a FastCGI application. It has exactly one of servers, dns and program.
type FastCGI struct {
	// Addresses of the application. tls:HOST:PORT is FastCGI over TLS.
	Servers []Address `yaml:"servers"`

	// HOST:PORT of a name with several addresses, or an SRV name such as _app._tcp.example.org, whose records have
	// the ports. Each address is one server. Of SRV records those with the best priority count; their weights are
	// shares of the requests.
	DNS string `yaml:"dns"`

	// How often the name of dns is looked up. Default: 5s.
	Refresh Duration `yaml:"refresh"`

	// A FastCGI program that the gateway starts and keeps running.
	Program string `yaml:"program" path:"program"`

	// Arguments of program, one per item.
	Args []string `yaml:"args"`

	// How many processes of program run. Default: 1.
	Processes int `yaml:"processes"`

	// How a server is chosen: the one with the fewest requests, or each in turn. Default: least_conn.
	Balance Balance `yaml:"balance"`

	// The most connections to one server, and so the most requests that it has at once; 0 is no limit. Others wait,
	// in order of arrival, as queue says. Default: 32.
	MaxConns int `yaml:"max_conns"`

	// How long a connection may take to be made. Default: 5s.
	Connect Duration `yaml:"connect"`

	// How long a connection is kept that has no request. A kept connection holds one of php-fpm's children, so other
	// users of the same php-fpm wait that long for it. 0 keeps none. Default: 2s.
	Keep Duration `yaml:"keep"`

	// How servers are looked after. Without it a server is left out when it can't be reached, until it can, and for a
	// while when three requests in a row have failed; but one that hangs is not noticed before timeout.first_byte.
	Health *Health `yaml:"health"`

	// The time over which a server that has come, or come back, gets from a tenth of its share of the requests to all
	// of it. Default: 0.
	SlowStart Duration `yaml:"slow_start"`

	// How the gateway and the servers at tls: addresses know each other; with dns, it also makes those servers be
	// spoken to over TLS.
	TLS *ClientTLS `yaml:"tls"`

	// Changes of the parameters that the application gets: those of the request, and env. They are made in this order.
	Params []ParamStep `yaml:"params"`
}

// Health is about the checks of FastCGI servers. A server whose checks fail is left out until one passes; its requests
// that nothing has come back for go to another one where their method is safe. While all connections to a server are in
// use it is not checked, and one that answers requests is well whatever the checks say.
type Health struct {
	// How a server is asked: connect makes a connection, which a process that hangs passes; values asks about the
	// application's limits (FCGI_GET_VALUES), as php-fpm, libfcgi programs and shim serve answer it; ping asks for
	// php-fpm's ping.path; status asks for its pm.status_path, and takes from it how many requests there can be at
	// once, where max_conns is more. Default: values.
	Check HealthCheck `yaml:"check"`

	// The path that ping or status asks for. Left out: /ping, or /status.
	Path string `yaml:"path"`

	// Time between checks. One that fails is made again at once. Default: 1s.
	Every Duration `yaml:"every"`

	// Time that a check may take. Default: 500ms.
	Timeout Duration `yaml:"timeout"`

	// How many checks in a row must fail. Default: 2.
	Fails int `yaml:"fails"`
}

// ClientTLS is for connections to tls: addresses.
type ClientTLS struct {
	// PEM file of the certificates that a server's must be signed by. Left out: those that the system trusts.
	CA string `yaml:"ca" path:"file"`

	// PEM file with the gateway's own certificate, which a server may ask for. It goes with key.
	Cert string `yaml:"cert" path:"file"`

	// PEM file with the private key of cert.
	Key string `yaml:"key" path:"file"`

	// The name that a server's certificate must have. Left out: the host of its address, or of dns.
	Name string `yaml:"name"`
}

// ParamStep is one change of an application's parameters. It has exactly one of set, unset, rename and use. CONTENT_LENGTH
// and HTTP_PROXY can't be changed.
type ParamStep struct {
	// Parameters and their values: {SCRIPT_FILENAME: "/app%{SCRIPT_NAME}"}. %{NAME} stands for a parameter as it was before
	// the step, or nothing; %% for a percent sign.
	Set Env `yaml:"set"`

	// Parameters that are left out.
	Unset []string `yaml:"unset"`

	// Parameters and their new names: {REQUEST_ID: TRACE_ID}. What had that name before is gone, if the parameter
	// is there.
	Rename map[string]string `yaml:"rename"`

	// A mapping that is built in. nginx adds what nginx's fastcgi_params has beside CGI's own variables: DOCUMENT_URI,
	// REDIRECT_STATUS, and REMOTE_USER and CONTENT_TYPE even where they are empty. Others can be written in Go, see
	// docs/params.md.
	Use string `yaml:"use"`
}

// PHP runs the .php files of a folder through php-fpm.
type PHP struct {
	// The folder, as php-fpm sees it. Where the gateway has it elsewhere, as with php-fpm in a container or with chroot, files
	// beside php says where.
	Root string `yaml:"root" jsonschema:"required" path:"folder"`

	// Where php-fpm is.
	FastCGI *FastCGI `yaml:"fastcgi" jsonschema:"required"`

	// Names tried, in this order, when the URL ends at a folder. Default: [index.php].
	Index []string `yaml:"index"`

	// The script that answers what names no file, as frameworks want it: /index.php.
	Front string `yaml:"front"`
}

// Auth says who may come in.
type Auth struct {
	// Name and password, asked for by the browser (HTTP Basic).
	Basic *BasicAuth `yaml:"basic" jsonschema:"required"`
}

// BasicAuth checks name and password against a file.
type BasicAuth struct {
	// What the browser shows when it asks. Default: restricted.
	Realm string `yaml:"realm"`

	// File of names and password hashes as htpasswd writes it.
	Htpasswd string `yaml:"htpasswd" jsonschema:"required" path:"file"`
}

// Authorize asks a FastCGI application in the role of an authorizer. It gets the request's variables, but not its body,
// nor CONTENT_LENGTH, SCRIPT_NAME, SCRIPT_FILENAME, PATH_INFO and PATH_TRANSLATED; nor, behind auth and without
// authorization: pass, HTTP_AUTHORIZATION. If it answers with status 200, the request goes on, and each of its fields
// Variable-NAME: VALUE becomes the variable NAME of the route's scripts and applications, in upper case and with _ for -. So
// REMOTE_USER, AUTH_TYPE and names of its own can be set. A name that belongs to the request itself (HTTP_HOST,
// REMOTE_ADDR), to the gateway, to env, or that interpreters obey (LD_PRELOAD, PERL5LIB) is an error: the request is
// refused with 502. Any other answer goes to the client, without its Variable- fields. When the application can't be
// reached, takes too long or fails, the request is refused with 502, 503 or 504.
type Authorize struct {
	// The application. What a managed program runs with is as in the route's own fastcgi.
	FastCGI *FastCGI `yaml:"fastcgi" jsonschema:"required"`

	// How long it may take. Default: 10s.
	Timeout Duration `yaml:"timeout"`
}

// Limits are for each single process, soft and hard, from the first instruction of the script; what it starts has
// them too. 0 or left out is no limit.
type Limits struct {
	// Address space (RLIMIT_AS): what a process can ask for, not what it uses; 64MiB is little for an interpreter.
	// Beyond it the script's own request for memory fails. A warm parent loads the script within it. Default: 0.
	Memory Size `yaml:"memory"`

	// Processor time, in whole seconds (RLIMIT_CPU). Then comes SIGXCPU, and a second later SIGKILL. A warm parent and
	// a reused worker have it for all their life, and are replaced when half of it is used; a script that takes
	// longer than that to load stays in mode spawn. Default: 0.
	CPU Duration `yaml:"cpu"`

	// Processes, and threads, that the script's user may have at once, over all its scripts, with warm parents and
	// workers (RLIMIT_NPROC). Beyond it nothing can be started. It does not hold for root: it goes with user. Default: 0.
	Processes int `yaml:"processes"`

	// Open files, sockets and pipes (RLIMIT_NOFILE). Default: 0.
	Files int `yaml:"files"`

	// Size of a file that it writes (RLIMIT_FSIZE). Beyond it comes SIGXFSZ, or an error where the script ignores
	// that, as Python does. The answer is no file. Default: 0.
	FileSize Size `yaml:"file_size"`

	// Size of the memory image that is kept of it where it crashes (RLIMIT_CORE); 0 is that none is. Without it, that is as for the gateway itself.
	Core *Size `yaml:"core"`

	// What all processes of one script may use together.
	Script *ScriptLimits `yaml:"script"`
}

// Confine is the limits as package confine has them.
func (l *Limits) Confine() confine.Limits {
	if l == nil {
		return confine.Limits{}
	}
	c := confine.Limits{
		Memory: int64(l.Memory), CPU: time.Duration(l.CPU), Processes: l.Processes, Files: l.Files, FileSize: int64(l.FileSize),
	}
	if l.Core != nil {
		c.Core = confine.Core{Set: true, Size: int64(*l.Core)}
	}
	return c
}

// setDefaults begins a route with the settings of defaults; what the route itself says is then written over them.
func (r *Route) setDefaults(root *Config) {
	r.Authorization = AuthorizationHide
	r.Symlinks = SymlinksInside
	r.Settings = root.Defaults
}

func (f *Files) setDefaults(*Config) { f.Index = []string{"index.html"} }

func (f *FastCGI) setDefaults(*Config) {
	f.Refresh = Duration(5 * time.Second)
	f.Processes = 1
	f.Balance = BalanceLeastConn
	f.MaxConns = 32
	f.Connect = Duration(5 * time.Second)
	f.Keep = Duration(2 * time.Second)
}

func (h *Health) setDefaults(*Config) {
	h.Check = CheckValues
	h.Every = Duration(time.Second)
	h.Timeout = Duration(500 * time.Millisecond)
	h.Fails = 2
}

func (p *PHP) setDefaults(*Config) { p.Index = []string{"index.php"} }

func (a *Authorize) setDefaults(*Config) { a.Timeout = Duration(10 * time.Second) }

func (b *BasicAuth) setDefaults(*Config) { b.Realm = "restricted" }

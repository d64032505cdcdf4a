package config

import (
	"time"

	"warmcgi/internal/confine"
)

// Route says what answers under one path: cgi, or fastcgi, or files, or php, or files and php together.
type Route struct {
	// The path, not percent-encoded, from the first slash. Without a slash at its end it stands for itself and
	// everything below it: /git takes /git and /git/x, but not /gitx. With one it takes only what is below it.
	Path string `yaml:"path" jsonschema:"required"`

	// CGI programs: one, or a folder of them.
	CGI *CGI `yaml:"cgi"`

	// The files of a folder, with scripts among them if wanted.
	Files *Files `yaml:"files"`

	// A FastCGI application.
	FastCGI *FastCGI `yaml:"fastcgi"`

	// PHP through php-fpm.
	PHP *PHP `yaml:"php"`

	// Environment variables of this route's scripts, over those of the whole file's env.
	Env Env `yaml:"env"`

	// Who may come in. Without it everybody may.
	Auth *Auth `yaml:"auth"`

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
	// The gateway must be root, or be that user already. Names are looked up once, at the start: in /etc/passwd and
	// /etc/group, or wherever the system looks (NSS: LDAP, sssd) where the gateway was built with cgo. A number with a
	// group needs no entry: 1001:1001. Such a script reads and writes as that user; the environment does not change
	// (HOME and USER are what env says), and setuid programs still work. It needs Linux.
	User string `yaml:"user"`

	// Limits of the operating system (setrlimit) for every process of the route's scripts. A process that a limit
	// ends has a line in the log, and is counted. In mode spawn they cost some 6 ms of processor time for each
	// request; warm workers have them for nothing. They need Linux.
	Limits *Limits `yaml:"limits"`

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

	// HOST:PORT of a name with several addresses; each of them is one server.
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

	// The most connections to one server; 0 is no limit. Default: 32.
	MaxConns int `yaml:"max_conns"`
}

// PHP runs the .php files of a folder through php-fpm.
type PHP struct {
	// The folder, as php-fpm sees it too.
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
}

// Confine is the limits as package confine has them.
func (l *Limits) Confine() confine.Limits {
	if l == nil {
		return confine.Limits{}
	}
	return confine.Limits{
		Memory: int64(l.Memory), CPU: time.Duration(l.CPU), Processes: l.Processes, Files: l.Files, FileSize: int64(l.FileSize),
	}
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
}

func (p *PHP) setDefaults(*Config) { p.Index = []string{"index.php"} }

func (b *BasicAuth) setDefaults(*Config) { b.Realm = "restricted" }

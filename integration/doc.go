// Package integration holds tests only. They run the gateway as its users do: the
// built program, a YAML file, real CGI programs (gitweb, git http-backend, CGI.pm,
// Python, Ruby, PHP, C) and the real servers it stands behind or takes the place of
// (nginx, Apache, lighttpd, fcgiwrap). See README.md.
package integration

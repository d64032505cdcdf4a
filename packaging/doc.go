// Package packaging holds what the packages are made of, and their tests: the Debian package is built, installed on
// machines that the tests boot (systemd in namespaces of its own), upgraded, removed and purged. See docs/packages.md.
package packaging

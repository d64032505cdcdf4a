// Package deploy holds what warmcgi needs on many machines, see README.md. Its tests hold the manifests to the types
// of Kubernetes and to the programs, and the dashboard and the alerts to the metrics that there are. It is a module of
// its own, as those types are many modules.
package deploy

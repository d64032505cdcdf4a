package config

import (
	"fmt"
	"net"
	"strings"
)

// checkAdmin: whoever reaches the admin door controls the gateway.
func (d *decoder) checkAdmin(a *Admin) {
	if !d.src.has("admin") {
		return
	}
	at := "admin"
	if d.src.has("admin.listen") {
		at = "admin.listen"
	}
	d.checkListenAddress(at, "admin", a.Listen)
	if d.src.has("admin.token_file") && d.src.has("admin.token_env") {
		d.refuse(d.src.key("admin.token_env", "cannot stand beside token_file: there is one token"))
	}
	if strings.ContainsAny(a.TokenEnv, "=$ ") {
		d.refuse(d.src.value("admin.token_env", "%q is not the name of an environment variable", a.TokenEnv))
	}
	if a.Listen.Network() == "unix" && d.src.has("admin.tls") {
		d.refuse(d.src.key("admin.tls", "goes with HOST:PORT only: a unix socket is for the gateway's own user alone"))
	}
	d.checkNotEmpty("admin.allow_hosts", len(a.AllowHosts))
	for i, h := range a.AllowHosts {
		if h == "" || strings.ContainsAny(h, "/*@ ") || strings.Contains(h, ":") && net.ParseIP(strings.Trim(h, "[]")) == nil {
			d.refuse(d.src.value(fmt.Sprintf("admin.allow_hosts[%d]", i), "%q is not a host name (write it without a port, like gw.example.org)", h))
		}
	}
	if a.Listen.Network() == "tcp" && !a.Listen.IsLoopback() && !a.HasToken() && !a.WantsCertificate() {
		d.refuse(d.src.value(at, "%s can be reached by other machines, and whoever reaches it controls the gateway: "+
			"add token_file or token_env, or tls with client_ca, or listen at 127.0.0.1 or unix:/path", a.Listen))
	}
}

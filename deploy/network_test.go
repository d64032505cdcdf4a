package deploy

import (
	"testing"

	"github.com/stretchr/testify/assert"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A place is a pod somewhere; one without labels in namespace "" is outside of the cluster.
type place struct {
	namespace string
	labels    labels.Set
	of        *apps.Deployment // for its ports' names
}

// passes tells whether the policies let a connection through: of those that select a pod, one has to allow it, at both ends.
func passes(t *testing.T, c *cluster, from, to place, port int32, protocol core.Protocol) bool {
	out, in := true, true
	for _, way := range []networking.PolicyType{networking.PolicyTypeEgress, networking.PolicyTypeIngress} {
		self, other := from, to
		if way == networking.PolicyTypeIngress {
			self, other = to, from
		}
		selected, allowed := false, false
		for _, p := range all[*networking.NetworkPolicy](c) {
			if self.namespace != p.Namespace || !selects(t, &p.Spec.PodSelector, self.labels) {
				continue
			}
			for _, kind := range p.Spec.PolicyTypes {
				if kind != way {
					continue
				}
				selected = true
				if way == networking.PolicyTypeEgress {
					for _, r := range p.Spec.Egress {
						allowed = allowed || peersHave(t, p, r.To, other) && portsHave(t, r.Ports, to, port, protocol)
					}
				} else {
					for _, r := range p.Spec.Ingress {
						allowed = allowed || peersHave(t, p, r.From, other) && portsHave(t, r.Ports, to, port, protocol)
					}
				}
			}
		}
		if way == networking.PolicyTypeEgress {
			out = !selected || allowed
		} else {
			in = !selected || allowed
		}
	}
	return out && in
}

func peersHave(t *testing.T, p *networking.NetworkPolicy, peers []networking.NetworkPolicyPeer, other place) bool {
	if len(peers) == 0 {
		return true
	}
	for _, peer := range peers {
		namespace := other.namespace == p.Namespace
		if peer.NamespaceSelector != nil {
			namespace = other.namespace != "" && selects(t, peer.NamespaceSelector, labels.Set{"kubernetes.io/metadata.name": other.namespace})
		}
		if namespace && (peer.PodSelector == nil || selects(t, peer.PodSelector, other.labels)) {
			return true
		}
	}
	return false
}

func portsHave(t *testing.T, ports []networking.NetworkPolicyPort, to place, port int32, protocol core.Protocol) bool {
	if len(ports) == 0 {
		return true
	}
	for _, p := range ports {
		want := core.ProtocolTCP
		if p.Protocol != nil {
			want = *p.Protocol
		}
		number := p.Port.IntVal
		if p.Port.Type == intstr.String {
			number = portOf(t, to.of, *p.Port)
		}
		if want == protocol && number == port {
			return true
		}
	}
	return false
}

func TestTheNetworkPoliciesLetThroughWhatIsDeclaredAndNothingElse(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		of := func(name string) place {
			d := one[*apps.Deployment](c, name)
			return place{d.Namespace, pods(d), d}
		}
		gateway, scripts := of("gateway"), of("scripts")
		outside, prometheus := place{}, place{namespace: "monitoring", labels: labels.Set{"app.kubernetes.io/name": "prometheus"}}
		dns, stranger := place{namespace: "kube-system", labels: labels.Set{"k8s-app": "kube-dns"}}, place{namespace: "default", labels: labels.Set{"app": "x"}}
		neighbour := place{namespace: "warmcgi", labels: labels.Set{"app": "x"}}
		for _, x := range []struct {
			what     string
			from, to place
			port     int32
			passes   bool
		}{
			{"clients to the gateway", outside, gateway, 8080, true},
			{"an ingress controller to the gateway", stranger, gateway, 8080, true},
			{"clients to the admin door", outside, gateway, 9180, false},
			{"another pod to the admin door", stranger, gateway, 9180, false},
			{"a script to the gateway's admin door", scripts, gateway, 9180, false},
			{"Prometheus to the gateway's metrics", prometheus, gateway, 9180, true},
			{"Prometheus to a host's metrics", prometheus, scripts, 9180, true},
			{"the gateway to script hosts", gateway, scripts, 9000, true},
			{"the gateway to a host's admin door", gateway, scripts, 9180, false},
			{"Prometheus to FastCGI", prometheus, scripts, 9000, false},
			{"another pod to FastCGI", stranger, scripts, 9000, false},
			{"a pod of the same namespace to FastCGI", neighbour, scripts, 9000, false},
			{"clients to FastCGI", outside, scripts, 9000, false},
			{"a script to another host's FastCGI", scripts, scripts, 9000, false},
			{"a script to the world", scripts, outside, 443, false},
			{"the gateway to the world", gateway, outside, 443, false},
			{"the gateway asks a name, by TCP", gateway, dns, 53, true},
			{"a script asks a name, by TCP", scripts, dns, 53, true},
			{"a script to what else is in kube-system", scripts, dns, 443, false},
		} {
			assert.Equal(t, x.passes, passes(t, c, x.from, x.to, x.port, core.ProtocolTCP), x.what)
		}
		assert.True(t, passes(t, c, gateway, dns, 53, core.ProtocolUDP))
		assert.True(t, passes(t, c, scripts, dns, 53, core.ProtocolUDP))
	})
}

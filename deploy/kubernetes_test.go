package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	psa "k8s.io/pod-security-admission/api"
	psapolicy "k8s.io/pod-security-admission/policy"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"

	"warmcgi/internal/config"
)

// each runs a test on every overlay.
func each(t *testing.T, test func(t *testing.T, c *cluster)) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) { test(t, build(t, overlay)) })
	}
}

func TestEveryObjectIsInTheNamespace(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		for _, o := range c.objects {
			if _, is := o.(*core.Namespace); is {
				continue
			}
			m := o.(meta.Object)
			assert.Equal(t, "warmcgi", m.GetNamespace(), "%T %s", o, m.GetName())
		}
	})
}

// pods are the labels of a Deployment's pods.
func pods(d *apps.Deployment) labels.Set { return d.Spec.Template.Labels }

func selects(t *testing.T, s *meta.LabelSelector, of labels.Set) bool {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(s)
	require.NoError(t, err)
	return selector.Matches(of)
}

func TestSelectorsFindThePodsThatTheyAreFor(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		deployments := all[*apps.Deployment](c)
		require.Len(t, deployments, 2)
		for _, d := range deployments {
			assert.True(t, selects(t, d.Spec.Selector, pods(d)), d.Name)
			for _, spread := range d.Spec.Template.Spec.TopologySpreadConstraints {
				assert.True(t, selects(t, spread.LabelSelector, pods(d)), d.Name)
			}
			for _, b := range all[*policy.PodDisruptionBudget](c) {
				assert.Equal(t, b.Name == d.Name, selects(t, b.Spec.Selector, pods(d)), "budget %s, pods of %s", b.Name, d.Name)
			}
			for _, s := range all[*core.Service](c) {
				assert.Equal(t, strings.HasPrefix(s.Name, d.Name), labels.SelectorFromSet(s.Spec.Selector).Matches(pods(d)), "service %s, pods of %s", s.Name, d.Name)
			}
		}
	})
}

// container is the one of a Deployment.
func container(t *testing.T, d *apps.Deployment) *core.Container {
	t.Helper()
	require.Len(t, d.Spec.Template.Spec.Containers, 1)
	return &d.Spec.Template.Spec.Containers[0]
}

// portOf is the container's port of that name or number.
func portOf(t *testing.T, d *apps.Deployment, p intstr.IntOrString) int32 {
	t.Helper()
	for _, have := range container(t, d).Ports {
		if have.Name == p.StrVal && p.Type == intstr.String || have.ContainerPort == p.IntVal && p.Type == intstr.Int {
			return have.ContainerPort
		}
	}
	require.Failf(t, "no such port", "%s has no port %s", d.Name, p.String())
	return 0
}

func TestPortsThatAreNamedAreThere(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		for _, d := range all[*apps.Deployment](c) {
			k := container(t, d)
			for name, p := range map[string]*core.Probe{"startup": k.StartupProbe, "readiness": k.ReadinessProbe, "liveness": k.LivenessProbe} {
				require.NotNil(t, p, "%s: %s", d.Name, name)
				assert.EqualValues(t, 9180, portOf(t, d, p.HTTPGet.Port), "%s: %s", d.Name, name)
			}
			for _, s := range all[*core.Service](c) {
				if labels.SelectorFromSet(s.Spec.Selector).Matches(pods(d)) {
					for _, p := range s.Spec.Ports {
						port := portOf(t, d, p.TargetPort)
						if s.Spec.ClusterIP == core.ClusterIPNone {
							assert.Equal(t, p.Port, port, "%s: a headless service leads to the pods' own ports", s.Name)
						}
					}
				}
			}
		}
		service := one[*core.Service](c, "gateway")
		for _, i := range all[*networking.Ingress](c) {
			b := i.Spec.Rules[0].HTTP.Paths[0].Backend.Service
			assert.Equal(t, service.Name, b.Name)
			assert.Equal(t, service.Spec.Ports[0].Name, b.Port.Name)
		}
		for _, r := range all[*gatewayapi.HTTPRoute](c) {
			b := r.Spec.Rules[0].BackendRefs[0]
			assert.EqualValues(t, service.Name, b.Name)
			assert.EqualValues(t, service.Spec.Ports[0].Port, *b.Port)
		}
		assert.Equal(t, 1, len(all[*networking.Ingress](c))+len(all[*gatewayapi.HTTPRoute](c)), "one way in")
	})
}

// The names of ConfigMaps have a hash; Secrets are made by hand, and documented.
func TestVolumesAreOfThingsThatThereAre(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	each(t, func(t *testing.T, c *cluster) {
		for _, d := range all[*apps.Deployment](c) {
			have := map[string]bool{}
			for _, v := range d.Spec.Template.Spec.Volumes {
				have[v.Name] = true
				if v.ConfigMap != nil {
					one[*core.ConfigMap](c, v.ConfigMap.Name)
				}
				if v.Secret != nil {
					assert.Contains(t, string(readme), v.Secret.SecretName, "how the secret is made")
				}
			}
			for _, m := range container(t, d).VolumeMounts {
				assert.True(t, have[m.Name], "%s mounts %s", d.Name, m.Name)
			}
		}
	})
}

func TestPodsAreWhatThePodSecurityStandardRestrictedAllows(t *testing.T) {
	checks, err := psapolicy.NewEvaluator(psapolicy.DefaultChecks(), nil)
	require.NoError(t, err)
	each(t, func(t *testing.T, c *cluster) {
		assert.Equal(t, "restricted", one[*core.Namespace](c, "warmcgi").Labels["pod-security.kubernetes.io/enforce"])
		for _, d := range all[*apps.Deployment](c) {
			for _, r := range checks.EvaluatePod(psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}, &d.Spec.Template.ObjectMeta, &d.Spec.Template.Spec) {
				assert.True(t, r.Allowed, "%s: %s: %s", d.Name, r.ForbiddenReason, r.ForbiddenDetail)
			}
			assert.True(t, *container(t, d).SecurityContext.ReadOnlyRootFilesystem, d.Name)
		}
	})
}

// gatewayConfig is the configuration that the gateways have, with its files of dir in place of those of the pod.
func gatewayConfig(t *testing.T, c *cluster) string {
	t.Helper()
	for _, v := range one[*apps.Deployment](c, "gateway").Spec.Template.Spec.Volumes {
		if v.ConfigMap != nil {
			return one[*core.ConfigMap](c, v.ConfigMap.Name).Data["gateway.yaml"]
		}
	}
	require.Fail(t, "the gateway has no configuration")
	return ""
}

func load(t *testing.T, yaml string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	require.NoError(t, os.WriteFile(file, []byte(yaml), 0o600))
	conf, err := config.Load(file, config.Options{})
	require.NoError(t, err)
	return conf
}

func TestTheGatewaysConfigurationFitsThePodsAroundIt(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		conf := load(t, gatewayConfig(t, c))
		assert.Empty(t, conf.Notes)
		d, scripts := one[*apps.Deployment](c, "gateway"), one[*core.Service](c, "scripts")
		assert.Equal(t, ":8080", conf.Listen[0].HTTP.Addr())
		assert.EqualValues(t, 8080, portOf(t, d, intstr.FromString("http")))
		assert.Equal(t, ":9180", conf.Admin.Listen.Addr())
		f := conf.Routes[0].FastCGI
		assert.Equal(t, scripts.Name+":9000", f.DNS)
		assert.Equal(t, core.ClusterIPNone, scripts.Spec.ClusterIP, "each address is a server")
		assert.EqualValues(t, 9000, portOf(t, one[*apps.Deployment](c, "scripts"), intstr.FromString("fastcgi")))
		tls := strings.Contains(strings.Join(container(t, one[*apps.Deployment](c, "scripts")).Args, " "), "--listen=tls:")
		assert.Equal(t, tls, f.TLS != nil, "both sides speak TLS, or none does")
		for _, file := range filesOf(conf) {
			assert.True(t, mounted(container(t, d), file), "%s is not mounted", file)
		}
	})
}

// filesOf are the files that a configuration names.
func filesOf(c *config.Config) []string {
	list := []string{c.Admin.TokenFile}
	if t := c.Routes[0].FastCGI.TLS; t != nil {
		list = append(list, t.CA, t.Cert, t.Key)
	}
	return list
}

// mounted reports whether a file is below one of the container's mounts.
func mounted(k *core.Container, file string) bool {
	for _, m := range k.VolumeMounts {
		if strings.HasPrefix(file, m.MountPath+"/") {
			return true
		}
	}
	return false
}

func TestTheOverlaysDifferInTLSAlone(t *testing.T) {
	plain, secret := gatewayConfig(t, build(t, "small")), gatewayConfig(t, build(t, "full"))
	strip := func(s string) string { return s[strings.Index(s, "\nlisten:"):] }
	rest, found := strings.CutPrefix(strip(secret), strip(plain))
	require.True(t, found, "components/mutual-tls/gateway.yaml is base/config/gateway.yaml and tls:\n%s", secret)
	assert.True(t, strings.HasPrefix(rest, "      tls:\n"), rest)
}

var waitFlag = regexp.MustCompile(`--(wait|timeout)[= ](\S+)`)

// flags are the times that a container's command line gives.
func flags(t *testing.T, d *apps.Deployment) map[string]time.Duration {
	t.Helper()
	found := map[string]time.Duration{}
	k := container(t, d)
	for _, m := range waitFlag.FindAllStringSubmatch(strings.Join(append(k.Command, k.Args...), " "), -1) {
		v, err := time.ParseDuration(m[2])
		require.NoError(t, err)
		found[m[1]] = v
	}
	return found
}

// What the programs take to end: see gateway.Server.Shutdown.
func TestPodsHaveTheTimeThatTheyNeedToEnd(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		conf := load(t, gatewayConfig(t, c))
		r := conf.Routes[0]
		longest := time.Duration(r.Queue.Wait + r.Timeout.Total)
		for _, d := range all[*apps.Deployment](c) {
			wait := flags(t, d)["wait"]
			sleep := container(t, d).Lifecycle.PreStop.Sleep
			require.NotNil(t, sleep, d.Name)
			if d.Name == "scripts" {
				timeout := flags(t, d)["timeout"]
				assert.LessOrEqual(t, time.Duration(r.Timeout.Total), timeout, "the host does not end what the gateway still waits for")
				longest = timeout + time.Duration(conf.Defaults.Queue.Wait)
				assert.Greater(t, time.Duration(sleep.Seconds)*time.Second, time.Duration(r.FastCGI.Refresh), "gateways look the name up meanwhile")
			}
			assert.LessOrEqual(t, longest, wait, "%s: no request that may go on is ended", d.Name)
			grace := time.Duration(r.Timeout.Grace) + 5*time.Second
			assert.Less(t, time.Duration(sleep.Seconds)*time.Second+wait+grace, time.Duration(*d.Spec.Template.Spec.TerminationGracePeriodSeconds)*time.Second, d.Name)
			assert.Zero(t, d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntVal, d.Name)
		}
	})
}

func TestWhatScalesHasNoNumberOfItsOwn(t *testing.T) {
	each(t, func(t *testing.T, c *cluster) {
		scaled := map[string]bool{}
		for _, h := range all[*autoscaling.HorizontalPodAutoscaler](c) {
			d := one[*apps.Deployment](c, h.Spec.ScaleTargetRef.Name)
			scaled[d.Name] = true
			assert.Nil(t, d.Spec.Replicas, "applying it again would undo what the autoscaler did")
			assert.Greater(t, h.Spec.MaxReplicas, *h.Spec.MinReplicas)
			assert.GreaterOrEqual(t, *h.Spec.MinReplicas, int32(2), "a budget of one needs two")
			for _, m := range h.Spec.Metrics {
				if m.ContainerResource != nil {
					k := container(t, d)
					assert.Equal(t, k.Name, m.ContainerResource.Container)
					assert.NotNil(t, k.Resources.Requests.Cpu(), "a share of what is requested")
				}
			}
		}
		for _, d := range all[*apps.Deployment](c) {
			if !scaled[d.Name] {
				assert.GreaterOrEqual(t, *d.Spec.Replicas, int32(2))
			}
		}
	})
}

func TestTheServiceMonitorFindsGatewaysAndScriptHosts(t *testing.T) {
	c := build(t, "full")
	m := one[*monitoring.ServiceMonitor](c, "warmcgi")
	found := map[string]bool{}
	for _, s := range all[*core.Service](c) {
		if !selects(t, &m.Spec.Selector, s.Labels) {
			continue
		}
		for _, p := range s.Spec.Ports {
			if p.Name == m.Spec.Endpoints[0].Port {
				found[s.Spec.Selector["app.kubernetes.io/component"]] = true
			}
		}
	}
	assert.Equal(t, map[string]bool{"gateway": true, "scripts": true}, found)
	assert.Equal(t, "token", m.Spec.Endpoints[0].Authorization.Credentials.Key)
}

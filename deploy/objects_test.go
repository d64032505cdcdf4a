package deploy

import (
	"bytes"
	"io"
	"path/filepath"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// overlays are what people apply.
var overlays = []string{"small", "full"}

// cluster are the objects that an overlay makes.
type cluster struct {
	t       *testing.T
	objects []runtime.Object
}

// build makes the objects of an overlay as kubectl does, and decodes them as the API server does: a field that a type
// does not have, or has twice, is an error.
func build(t *testing.T, overlay string) *cluster {
	t.Helper()
	return buildFrom(t, filesys.MakeFsOnDisk(), filepath.Join("kubernetes/overlays", overlay))
}

func buildFrom(t *testing.T, files filesys.FileSystem, folder string) *cluster {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, folder)
	require.NoError(t, err)
	text, err := made.AsYaml()
	require.NoError(t, err)

	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		core.AddToScheme, apps.AddToScheme, autoscaling.AddToScheme, networking.AddToScheme, policy.AddToScheme, gatewayapi.Install, monitoring.AddToScheme,
	} {
		require.NoError(t, add(types))
	}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, types, types, json.SerializerOptions{Yaml: true, Strict: true})
	c := &cluster{t: t}
	documents := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	buf := make([]byte, len(text))
	for {
		n, err := documents.Read(buf)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		o, _, err := decoder.Decode(buf[:n], nil, nil)
		require.NoError(t, err, "%s", buf[:n])
		c.objects = append(c.objects, o)
	}
	require.NotEmpty(t, c.objects)
	return c
}

// all are the objects of one type.
func all[T runtime.Object](c *cluster) (list []T) {
	for _, o := range c.objects {
		if v, ok := o.(T); ok {
			list = append(list, v)
		}
	}
	return list
}

// one is the object of a type and name.
func one[T interface {
	runtime.Object
	meta.Object
}](c *cluster, name string) T {
	c.t.Helper()
	for _, o := range all[T](c) {
		if o.GetName() == name {
			return o
		}
	}
	var none T
	require.Failf(c.t, "there is no such object", "%T %s", none, name)
	return none
}

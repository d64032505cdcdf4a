package deploy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	networking "k8s.io/api/networking/v1"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func TestTheOverlayOfTheReadmeBuilds(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	m := regexp.MustCompile("(?s)```yaml\n(apiVersion: kustomize.+?)```").FindSubmatch(readme)
	require.NotNil(t, m)
	files := filesys.MakeFsInMemory()
	require.NoError(t, filepath.WalkDir("kubernetes", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return files.WriteFile("/"+path, b)
	}))
	require.NoError(t, files.WriteFile("/kubernetes/overlays/own/kustomization.yaml", m[1]))
	c := buildFrom(t, files, "/kubernetes/overlays/own")
	for _, d := range all[*apps.Deployment](c) {
		assert.Equal(t, "registry.example.org/shop:7", container(t, d).Image)
	}
	for _, v := range one[*apps.Deployment](c, "scripts").Spec.Template.Spec.Volumes {
		assert.Nil(t, v.ConfigMap, "the scripts are in the image")
	}
	for _, v := range container(t, one[*apps.Deployment](c, "scripts")).VolumeMounts {
		assert.NotEqual(t, "/srv/cgi-bin", v.MountPath)
	}
	assert.Len(t, one[*networking.NetworkPolicy](c, "scripts").Spec.Egress, 2)
	assert.Equal(t, "shop.example.org", one[*networking.Ingress](c, "gateway").Spec.Rules[0].Host)
}

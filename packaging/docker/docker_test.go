// Package docker tests the container files by the code that reads them in the end: BuildKit's own checks, and the
// Compose specification's library. Neither needs a daemon or a network.
package docker

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	composeFile = "compose.yaml"
	dockerfile  = "Dockerfile"
)

// images answers for a registry: every base image is one about which nothing is known.
type images struct{}

func (images) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, "", []byte(`{"architecture":"amd64","os":"linux","config":{}}`), nil
}

// check is `docker build --check`.
func check(t *testing.T, text string) (warnings []string) {
	t.Helper()
	nothing, err := llb.Scratch().Marshal(t.Context())
	require.NoError(t, err)
	source := llb.NewSourceMap(nil, "Dockerfile", "", []byte(text))
	source.Definition = nothing
	results, err := dockerfile2llb.DockerfileLint(t.Context(), []byte(text), dockerfile2llb.ConvertOpt{
		Config:         dockerui.Config{BuildArgs: map[string]string{}},
		TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: "amd64"},
		MetaResolver:   images{},
		SourceMap:      source,
	})
	require.NoError(t, err)
	if results.Error != nil {
		warnings = append(warnings, results.Error.Message)
	}
	for _, w := range results.Warnings {
		warnings = append(warnings, w.RuleName+": "+w.Detail)
	}
	return warnings
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

func TestBuildKitHasNothingToSayAboutTheDockerfile(t *testing.T) {
	text := read(t, dockerfile)
	assert.Empty(t, check(t, text))
	for _, fault := range []struct{ from, to, says string }{
		{"FROM scratch AS gateway", "from scratch AS gateway", "ConsistentInstructionCasing"},
		{"--from=build /out/ /", "--form=build /out/ /", "unknown flag: --form"},
		{"USER www-data:www-data", "MAINTAINER me", "MaintainerDeprecated"},
		{`ENTRYPOINT ["/usr/bin/gateway"]`, "ENTRYPOINT /usr/bin/gateway", "JSONArgsRecommended"},
		{"EXPOSE 8080", "EXPOSE 808o", "808o"},
	} {
		require.Contains(t, text, fault.from)
		assert.Contains(t, strings.Join(check(t, strings.Replace(text, fault.from, fault.to, 1)), "\n"), fault.says)
	}
}

func TestEveryImageRunsAsNobodySpecialAndSaysWhetherItIsWell(t *testing.T) {
	parsed, err := parser.Parse(strings.NewReader(read(t, dockerfile)))
	require.NoError(t, err)
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) { t.Error(rule, message) }})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	require.NoError(t, err)
	require.Len(t, stages, 3)
	for _, stage := range stages[1:] {
		var user, health, entry string
		for _, c := range stage.Commands {
			switch c := c.(type) {
			case *instructions.CopyCommand:
				assert.Contains(t, []string{"", "build"}, c.From, "any other name would be an image of a registry")
			case *instructions.UserCommand:
				user = c.User
			case *instructions.HealthCheckCommand:
				health = strings.Join(c.Health.Test, " ")
			case *instructions.EntrypointCommand:
				entry = strings.Join(c.CmdLine, " ")
			}
		}
		assert.NotEmpty(t, user, stage.Name)
		assert.NotContains(t, []string{"root", "0", "0:0"}, user)
		assert.Equal(t, "CMD /usr/bin/gateway status --json", health)
		assert.Equal(t, "/usr/bin/gateway", entry)
	}
}

// The context is what .dockerignore leaves: what COPY names has to be in it.
func TestWhatTheDockerfileCopiesIsThereAndNotIgnored(t *testing.T) {
	ignored, err := ignorefile.ReadAll(strings.NewReader(read(t, dockerfile+".dockerignore")))
	require.NoError(t, err)
	for line := range strings.Lines(read(t, dockerfile)) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "COPY" || strings.HasPrefix(words[1], "--from") {
			continue
		}
		for _, source := range words[1 : len(words)-1] {
			assert.Contains(t, ignored, "!"+source)
			_, err := os.Stat(filepath.Join("../..", source))
			assert.NoError(t, err)
		}
	}
}

func TestTheComposeFileIsOneByTheSpecification(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{composeFile}, cli.WithResolvedPaths(true))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"gateway", "php", "scripts"}, project.ServiceNames())
	for name, s := range project.Services {
		for _, v := range s.Volumes {
			_, err := os.Stat(v.Source)
			assert.NoError(t, err, "%s mounts %s", name, v.Source)
			assert.True(t, v.ReadOnly)
		}
		if s.Build != nil {
			_, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile))
			assert.NoError(t, err)
			assert.True(t, s.ReadOnly)
			assert.Equal(t, []string{"ALL"}, s.CapDrop)
		}
	}
	// The names and ports that the gateway's configuration knows are those of the services.
	config := read(t, "compose-gateway.yaml")
	assert.Contains(t, config, `"php:9000"`)
	assert.Contains(t, config, `"scripts:9000"`)
	assert.Contains(t, project.Services["scripts"].Command, "tcp:0.0.0.0:9000")
	subnet := project.Networks["inner"].Ipam.Config[0].Subnet
	at := slices.Index(project.Services["scripts"].Command, "--allow")
	require.Positive(t, at)
	assert.Equal(t, subnet, project.Services["scripts"].Command[at+1])

	for _, fault := range [][2]string{{"read_only: true\n    tmpfs", "readonly: true\n    tmpfs"}, {"condition: service_healthy", "condition: healthy"}, {"networks: [inner]", "networks: [outer]"}} {
		text := read(t, composeFile)
		require.Contains(t, text, fault[0])
		file := filepath.Join(t.TempDir(), "compose.yaml")
		require.NoError(t, os.WriteFile(file, []byte(strings.Replace(text, fault[0], fault[1], 1)), 0o644))
		options, err := cli.NewProjectOptions([]string{file})
		require.NoError(t, err)
		_, err = options.LoadProject(t.Context())
		assert.Error(t, err, fault[1])
	}
}

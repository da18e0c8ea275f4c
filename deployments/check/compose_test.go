package check

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
)

// compose loads compose.yaml of the root with these variables and no others.
func compose(t *testing.T, variables ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "compose.yaml")}, cli.WithEnv(variables))
	require.NoError(t, err)
	project, err := options.LoadProject(context.Background())
	require.NoError(t, err)
	require.Equal(t, "identity", project.Name)
	return project
}

// ours are the services that run a program of this repository which reads settings.
var ours = map[string]config.Role{"api-1": config.API, "api-2": config.API, "consumer": config.Consumer}

// fixed are the settings that follow from what stands in the file beside the programs.
var fixed = []string{
	"HOST", "APP_PORT", "CONSUMER_PORT",
	"POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_SSLMODE",
	"RABBITMQ_URL", "RABBITMQ_MANAGEMENT_URL",
	"REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_TLS", "REDIS_STATE_DB", "REDIS_CACHE_DB",
	"REDIS_SENTINEL_ADDRS", "REDIS_SENTINEL_MASTER", "REDIS_SENTINEL_PASSWORD",
}

func TestCompose(t *testing.T) {
	project := compose(t)
	t.Run("passes every setting, and nothing that is none", func(t *testing.T) {
		var want, variables []string
		for _, s := range settings(t) {
			want = append(want, s.name)
			variables = append(variables, s.name+"=passed-"+s.name)
		}
		passed := compose(t, slices.DeleteFunc(variables, func(v string) bool { return strings.HasPrefix(v, "APP_PORT=") })...)
		for name := range ours {
			var got []string
			for variable, value := range passed.Services[name].Environment {
				got = append(got, variable)
				if !slices.Contains(fixed, variable) {
					require.Equal(t, "passed-"+variable, *value)
				}
			}
			require.ElementsMatch(t, want, got, name)
		}
	})
	t.Run("the programs take its defaults for development, and for nothing else", func(t *testing.T) {
		for name, role := range ours {
			env := map[string]string{}
			for variable, value := range project.Services[name].Environment {
				env[variable] = *value
			}
			cfg := load(t, role, env)
			require.Equal(t, "development", cfg.Service.Env)
			for _, other := range []string{"test", "staging", "production"} {
				t.Setenv("ENV", other)
				_, err := config.Load(role)
				for _, s := range settings(t) {
					if s.secret && slices.Contains(s.requiredBy, string(role)) {
						require.ErrorContains(t, err, s.name+" is public")
					}
				}
			}
		}
	})
	t.Run("no container can change itself or take the machine from the others", func(t *testing.T) {
		for name, s := range project.Services {
			require.True(t, s.ReadOnly, name)
			require.Equal(t, []string{"ALL"}, s.CapDrop, name)
			require.Contains(t, s.SecurityOpt, "no-new-privileges:true", name)
			require.False(t, s.Privileged, name)
			require.Positive(t, int64(s.MemLimit), name)
			require.Positive(t, s.PidsLimit, name)
			require.Positive(t, s.CPUS, name)
			require.Equal(t, "unless-stopped", s.Restart, name)
			for _, p := range s.Ports {
				require.Equal(t, "127.0.0.1", p.HostIP, name)
			}
			if !slices.Contains([]string{"rabbitmq", "redis", "postgres"}, name) {
				require.Empty(t, s.CapAdd, name)
			}
		}
	})
	t.Run("every file it names is there, from the root as from deployments", func(t *testing.T) {
		folder, err := filepath.Abs(root)
		require.NoError(t, err)
		for name, s := range project.Services {
			if s.Build != nil {
				require.Equal(t, folder, s.Build.Context)
				require.FileExists(t, filepath.Join(s.Build.Context, s.Build.Dockerfile))
				require.Contains(t, stages(t), s.Build.Target, name)
			}
			for _, v := range s.Volumes {
				if v.Type == types.VolumeTypeBind {
					require.FileExists(t, v.Source, name)
				}
			}
		}
	})
	t.Run("a stop leaves a program the time it may take", func(t *testing.T) {
		for name, role := range ours {
			env := map[string]string{}
			for variable, value := range project.Services[name].Environment {
				env[variable] = *value
			}
			cfg := load(t, role, env)
			require.Greater(t, int64(*project.Services[name].StopGracePeriod), int64(cfg.Service.ShutdownTimeout))
		}
	})
	t.Run("names the version of Compose that it needs", func(t *testing.T) {
		const version = "Docker Compose 2.20.3 or newer"
		for _, file := range []string{"compose.yaml", "deployments/compose.yaml", "deployments/README.md"} {
			require.Contains(t, read(t, file), version, file)
		}
	})
}

package measure

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchfmt"
)

// parseBenchstat reads as benchstat does.
func parseBenchstat(t *testing.T, text string) (all []map[string]float64) {
	t.Helper()
	r := benchfmt.NewReader(strings.NewReader(text), "test")
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			units := map[string]float64{}
			for _, v := range rec.Values {
				units[v.Unit] = v.Value
			}
			all = append(all, units)
		case *benchfmt.SyntaxError:
			require.NoError(t, rec)
		}
	}
	require.NoError(t, r.Err())
	return all
}

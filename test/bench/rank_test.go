package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The values were worked out by hand: ranks, U, its variance, and the normal distribution.
func TestRankTest(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		a, b []time.Duration
		z, p float64
	}{
		"without ties":                {[]time.Duration{1, 2, 3}, []time.Duration{6, 4, 5}, -1.96396, 0.04953},
		"the other way round":         {[]time.Duration{6, 4, 5}, []time.Duration{1, 2, 3}, 1.96396, 0.04953},
		"with ties":                   {[]time.Duration{1, 2, 2, 3}, []time.Duration{2, 3, 4, 5}, -1.63719, 0.10159},
		"of different sizes":          {[]time.Duration{10, 20}, []time.Duration{15, 25, 30, 35, 40}, -1.54919, 0.12134},
		"a slow sample counts as one": {[]time.Duration{1, 3, 5e9}, []time.Duration{2, 4, 6}, -0.21822, 0.82726},
		"equal samples":               {[]time.Duration{1, 2, 3}, []time.Duration{1, 2, 3}, 0, 1},
		"nothing but ties":            {[]time.Duration{7, 7}, []time.Duration{7, 7, 7}, 0, 1},
		"nothing":                     {nil, nil, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z, p := rankTest(tc.a, tc.b)
			require.InDelta(t, tc.z, z, 1e-5)
			require.InDelta(t, tc.p, p, 1e-5)
		})
	}
}

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTrend(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		values     []float64
		mean, rise float64
	}{
		"nothing":           {values: []float64{0, 0, 0}},
		"flat":              {values: []float64{5, 5, 5}, mean: 5},
		"a tenth of mean":   {values: []float64{95, 100, 105}, mean: 100, rise: 0.1},
		"falling":           {values: []float64{3, 2, 1}, mean: 2, rise: -1},
		"up and down again": {values: []float64{1, 3, 1}, mean: 5.0 / 3},
	} {
		mean, rise := trend(c.values)
		require.InDelta(t, c.mean, mean, 1e-9, name)
		require.InDelta(t, c.rise, rise, 1e-9, name)
	}
}

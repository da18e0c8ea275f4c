package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// rankTest compares two samples by the Mann–Whitney U test: by ranks only, so that neither the shape of the
// distributions nor a single slow sample matters. It returns how many standard deviations U is above what samples of one
// distribution have – positive when a is the slower one – and the probability that those are as far apart in either
// direction. It approximates U by a normal distribution and corrects for ties; each sample needs ten values or so.
func rankTest(a, b []time.Duration) (z, p float64) {
	type sample struct {
		took time.Duration
		ofA  bool
	}
	var all []sample
	for _, t := range a {
		all = append(all, sample{t, true})
	}
	for _, t := range b {
		all = append(all, sample{t, false})
	}
	slices.SortFunc(all, func(x, y sample) int { return cmp.Compare(x.took, y.took) })
	var ranks, ties float64 // of a; sum of t³-t over groups of t equal values
	for first := 0; first < len(all); {
		next := first
		var ofA float64
		for ; next < len(all) && all[next].took == all[first].took; next++ {
			if all[next].ofA {
				ofA++
			}
		}
		size := float64(next - first)
		ranks += ofA * float64(first+1+next) / 2 // each has the mean of the group's ranks
		ties += size*size*size - size
		first = next
	}
	m, n := float64(len(a)), float64(len(b))
	u := ranks - m*(m+1)/2
	variance := m * n / 12 * (m + n + 1 - ties/((m+n)*(m+n-1)))
	if !(variance > 0) { // all are equal, or there are none
		return 0, 1
	}
	z = (u - m*n/2) / math.Sqrt(variance)
	return z, math.Erfc(math.Abs(z) / math.Sqrt2)
}

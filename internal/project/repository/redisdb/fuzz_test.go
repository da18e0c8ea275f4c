package redisdb

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Other services write the hash as well: whatever they have left in it, what is read of it is a progress.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"", "3 2 1 0 10 PROCESSINGu1", "0 0 0 8 4 3 2 1 -1 -1 -1 80 80 0 DONEu1", "0 0 0 8 0 9007199254740991 9007199254740991 9007199254740991 1 1 1 1 1 1 ",
		"3 2 1 0 -1 x", "3 2 1 0 99 x", "3 2 1", "9223372036854775808 0 0 0 0 ", "1 1 1 15 0 ", "+1 -0 01 0 0 u", "1 9007199254740991 0 0 0 ",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		change, err := decode("p", reply)
		if err != nil {
			require.Empty(t, change)
			return
		}
		p := change.Progress
		require.Equal(t, "p", p.ProjectID)
		require.Equal(t, reply != "", p.Found() || reply != "" && p.Status == "NOT_FOUND")
		require.True(t, p.Percent() >= 0 && p.Percent() <= 100, "%+v", p)
		n := parseCount(reply)
		require.True(t, n >= 0 && n < 1<<53)
		if n > 0 {
			require.Equal(t, n, parseCount(fmt.Sprint(n)))
		}
	})
}

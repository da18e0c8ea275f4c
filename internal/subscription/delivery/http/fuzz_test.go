package http

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A time of a request is one that every database stores, and every response can show.
func FuzzMoment(f *testing.F) {
	for _, seed := range []string{
		`"2026-01-31T09:30:00Z"`, `"2026-01-31T16:30:00.123456789+07:00"`, `null`, `""`, `7`, `"0001-01-01T00:00:00Z"`, `"0001-01-01T00:00:00+14:00"`,
		`"9999-12-31T23:59:59-14:00"`, `"9999-12-31T23:59:59.999999999Z"`, `"2026-02-30T00:00:00Z"`, `"2026-01-31t09:30:00z"`, `"2026-01-31"`,
		`"0000-12-31T23:59:59-01:00"`, `"2026-01-31T24:00:00Z"`, `"2016-12-31T23:59:60Z"`, `"2026-01-31T09:30:00+24:00"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r struct {
			At moment `json:"at"`
		}
		if json.Unmarshal(append(append([]byte(`{"at":`), raw...), '}'), &r) != nil {
			return
		}
		got, problems := r.At.optional(), map[string]string{}
		times(problems, map[string]moment{"at": r.At})
		if got.Time == nil || len(problems) > 0 {
			return
		}
		require.True(t, got.Given)
		require.Equal(t, time.UTC, got.Time.Location())
		require.True(t, got.Time.Year() >= 1 && got.Time.Year() <= 9999, got.Time)
		require.Equal(t, got.Time.Truncate(time.Microsecond), *got.Time)
		shown, err := json.Marshal(got.Time)
		require.NoError(t, err)
		var again moment
		require.NoError(t, json.Unmarshal(shown, &again))
		require.Equal(t, *got.Time, *again.at)
	})
}

package legacy

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDigests(t *testing.T) {
	t.Parallel()
	t.Run("name the fields that differ", func(t *testing.T) {
		t.Parallel()
		mail := Mail{Subject: "s", Recipient: "r", Body: "b"}
		for want, changed := range map[string]Mail{
			"[]":                       mail,
			"[subject]":                {Subject: "S", Recipient: "r", Body: "b"},
			"[recipient]":              {Subject: "s", Recipient: "R", Body: "b"},
			"[body]":                   {Subject: "s", Recipient: "r", Body: ""},
			"[subject recipient body]": {Subject: "r", Recipient: "b", Body: "s"},
		} {
			headers := map[string]string{}
			digests.stamp(headers, eventID, changed)
			require.Equal(t, want, fmt.Sprint(digests.differing(headers, eventID, mail)))
		}
	})
	t.Run("a missing digest is a difference", func(t *testing.T) {
		t.Parallel()
		mail := Mail{Subject: "s", Recipient: "r", Body: "b"}
		for _, field := range compared {
			headers := map[string]string{}
			digests.stamp(headers, eventID, mail)
			delete(headers, field.header)
			require.Equal(t, []string{field.name}, digests.differing(headers, eventID, mail))
		}
	})
	t.Run("reveal nothing", func(t *testing.T) {
		t.Parallel()
		mail := Mail{Subject: recipient, Recipient: recipient, Body: recipient}
		stamp := func(d Digests, id string) map[string]string {
			headers := map[string]string{}
			d.stamp(headers, id, mail)
			return headers
		}
		one := stamp(digests, eventID)
		seen := map[string]bool{}
		for _, headers := range []map[string]string{one, stamp(digests, "evt_2"), stamp(NewDigests(bytes.Repeat([]byte{8}, 32)), eventID)} {
			for _, value := range headers {
				require.Regexp(t, "^[0-9a-f]{64}$", value)
				require.False(t, seen[value], "neither two fields, nor two events, nor two keys have a digest in common")
				seen[value] = true
			}
		}
		require.Equal(t, one, stamp(NewDigests(sealKey), eventID), "every process comes to the same")
		require.NotEqual(t, one, stamp(Digests{[][]byte{sealKey}}, eventID), "the key is not the one that seals")

		both := NewDigests(bytes.Repeat([]byte{8}, 32), sealKey)
		require.Empty(t, both.differing(one, eventID, mail), "a key that is accepted")
		require.Equal(t, []string{"body"}, both.differing(one, eventID, Mail{Subject: recipient, Recipient: recipient}))
		require.NotEqual(t, one, stamp(both, eventID), "the first stamps")
	})
}

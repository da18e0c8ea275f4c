package event_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

func TestMessageCheck(t *testing.T) {
	t.Parallel()
	text := func(n int) string { return strings.Repeat("s", n) }
	headers := func(n int) map[string]string {
		out := make(map[string]string, n)
		for i := range n {
			out[fmt.Sprint(i)] = ""
		}
		return out
	}
	for name, c := range map[string]struct {
		message event.Message
		frame   int
		wrong   string // what the error names; empty: nothing
	}{
		"an empty message":           {event.Message{}, event.MinFrame, ""},
		"short strings at the limit": {event.Message{ID: text(255), RoutingKey: text(255), Exchange: text(255)}, event.MinFrame, ""},
		"a long id":                  {event.Message{ID: text(256)}, 0, "the id has 256 bytes"},
		"a long exchange":            {event.Message{Exchange: text(256)}, 0, "the exchange"},
		"a long routing key":         {event.Message{RoutingKey: text(256)}, 0, "the routing key"},
		"a long content type":        {event.Message{ContentType: text(256)}, 0, "the content type"},
		"a long key before its moves": {
			event.Message{RoutingKey: "q.dead", Headers: map[string]string{event.HeaderRoutingKey: text(256)}},
			0, "the original routing key",
		},
		"a long header name":        {event.Message{Headers: map[string]string{text(256): ""}}, 0, "a header's name"},
		"a long header":             {event.Message{Headers: map[string]string{"a": text(100_000)}}, 131_072, ""},
		"a header beyond a frame":   {event.Message{Headers: map[string]string{"a": text(131_000)}}, 131_072, "headers and properties take"},
		"any frame":                 {event.Message{Headers: map[string]string{"a": text(131_000)}}, 0, ""},
		"a frame of the least size": {event.Message{Headers: map[string]string{"a": text(3_500)}}, event.MinFrame, "headers and properties take"},
		"many headers":              {event.Message{Headers: headers(8_000)}, 131_072, ""},
		"too many headers":          {event.Message{Headers: headers(8_001)}, 0, "8001 headers"},
		"a body of many frames":     {event.Message{Body: make([]byte, 1<<20)}, event.MinFrame, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.message.Check(c.frame)
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, event.ErrRejected)
			require.ErrorContains(t, err, c.wrong)
			require.NotContains(t, err.Error(), "sss", "the content is not quoted")
		})
	}
}

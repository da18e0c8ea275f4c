package event

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckID(t *testing.T) {
	t.Parallel()
	handle := Handle(func(context.Context, Received, ProjectCreatedData) error { return nil })
	for id, good := range map[string]bool{
		"p": true, "Dự án 日本": true, strings.Repeat("x", 255): true,
		strings.Repeat("x", 256): false, `a\u0000b`: false, `a\u001bb`: false, `a\ud800b`: false, "a\xffb": false,
	} {
		for _, body := range []string{
			`{"event_id":"` + id + `","payload":{"project_id":"p","user_id":"u"}}`,
			`{"event_id":"e","payload":{"project_id":"` + id + `","user_id":"u"}}`,
			`{"event_id":"e","payload":{"project_id":"p","user_id":"` + id + `"}}`,
		} {
			err := handle(t.Context(), Delivery{Message: Message{Body: []byte(body)}})
			if good {
				require.NoError(t, err, body)
				continue
			}
			reason, _ := Ended(err)
			require.Equal(t, ReasonInvalid, reason, body)
			require.NotContains(t, err.Error(), id)
		}
	}
}

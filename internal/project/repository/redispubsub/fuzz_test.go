package redispubsub

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
)

// The project that a change was published for is the one that is read again: ids that are accepted keep apart.
func FuzzChannel(f *testing.F) {
	for _, seed := range [][2]string{
		{"proj_1", "019c1000-0000-7000-8000-000000000001"}, {"p:1", "u"}, {"cc:failed", "u"}, {"ch:u", "1"}, {"a\xfe", "u"}, {"p", "u:1"}, {"p", "019C1000-0000-7000-8000-000000000001"}, {"*", "?"},
		{"p\n", "u"}, {"", ""}, {"p\xff", "u"}, {"dự án", "{019c1000-0000-7000-8000-000000000001}"}, {"p", "urn:uuid:019c1000-0000-7000-8000-000000000001"},
	} {
		f.Add(seed[0], seed[1], `{"payload":{"project_id":"p"}}`)
	}
	f.Add("p", "u", `{"payload":7}`)
	f.Add("p", "u", `{"payload":{"project_id":null}}`)
	f.Fuzz(func(t *testing.T, id, owner, text string) {
		if found, ok := projectOf(userPrefix+owner, text); ok {
			require.NotEmpty(t, found)
			require.True(t, json.Valid([]byte(text)))
		}
		if project.CheckID("project_id", id) != nil || project.CheckID("user_id", owner) != nil {
			return
		}
		for _, channel := range ProjectChannel.of(id, owner) {
			found, ok := projectOf(channel, text)
			require.True(t, ok)
			require.Equal(t, id, found)
		}
		body, err := json.Marshal(map[string]any{"payload": map[string]string{"project_id": id}})
		require.NoError(t, err)
		for _, channel := range UserChannel.of(id, owner) {
			found, ok := projectOf(channel, string(body))
			require.True(t, ok)
			require.Equal(t, id, found)
		}
	})
}

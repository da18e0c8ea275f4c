//go:build e2e

package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestUsers reads and changes accounts on real servers, as people, as an administrator and as another service.
func TestUsers(t *testing.T) {
	t.Parallel()
	t.Run("are seen and changed by those who may", seeAndChange)
	t.Run("are what their row says, from the next request on", followTheRow)
}

type account struct {
	ID        string `json:"id"`
	Username  string `json:"username"`
	FullName  string `json:"full_name"`
	AvatarURL string `json:"avatar_url"`
	Role      string `json:"role"`
	IsActive  bool   `json:"is_active"`
}

func read[T any](t *testing.T, a harness.Answer) (into T) {
	t.Helper()
	require.NoError(t, json.Unmarshal(a.Data, &into))
	return into
}

func seeAndChange(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1})
	admin, an := administrator(t, s), verified(t, s)
	stranger := s.Client()
	key := []string{"X-Internal-Key", os.Getenv("INTERNAL_KEY")}

	profile := map[string]any{"full_name": " Nguyễn An ", "avatar_url": "https://smap.example/an.png", "role": "ADMIN"}
	changed := read[account](t, want(t, http.StatusOK)(an.client.Call(t.Context(), http.MethodPut, "/users/me", profile)))
	require.Equal(t, account{an.id, an.email, "Nguyễn An", "https://smap.example/an.png", "USER", true}, changed)
	require.Equal(t, changed, read[account](t, want(t, http.StatusOK)(an.client.Call(t.Context(), http.MethodGet, "/identity/users/me", nil))))
	cleared := read[account](t, want(t, http.StatusOK)(an.client.Call(t.Context(), http.MethodPut, "/users/me", map[string]any{"avatar_url": nil})))
	require.Equal(t, account{an.id, an.email, "Nguyễn An", "", "USER", true}, cleared)
	refused(t, http.StatusBadRequest, 10001)(an.client.Call(t.Context(), http.MethodPut, "/users/me", map[string]any{"avatar_url": "javascript:x"}))

	var page struct {
		Users    []account
		Metadata map[string]any
	}
	newest := want(t, http.StatusOK)(admin.client.Call(t.Context(), http.MethodGet, "/users/page?limit=1", nil))
	require.NoError(t, json.Unmarshal(newest.Data, &page))
	require.Equal(t, []account{cleared}, page.Users)
	require.Equal(t, map[string]any{
		"total": 2.0, "count": 1.0, "per_page": 1.0, "current_page": 1.0, "total_pages": 2.0, "has_next": true, "has_prev": false,
	}, page.Metadata)
	named := want(t, http.StatusOK)(admin.client.Call(t.Context(), http.MethodGet, "/users?ids[]="+an.id, nil))
	require.NoError(t, json.Unmarshal(named.Data, &page))
	require.Equal(t, []account{cleared}, page.Users)

	for _, path := range []string{"/users", "/users/page", "/users/" + admin.id} {
		want(t, http.StatusForbidden)(an.client.Call(t.Context(), http.MethodGet, path, nil))
		want(t, http.StatusUnauthorized)(stranger.Call(t.Context(), http.MethodGet, path, nil))
	}
	one := "/users/" + an.id
	require.Equal(t, cleared, read[account](t, want(t, http.StatusOK)(admin.client.Call(t.Context(), http.MethodGet, one, nil))))
	internal := "/users/internal/" + an.id
	require.Equal(t, cleared, read[account](t, want(t, http.StatusOK)(stranger.Call(t.Context(), http.MethodGet, internal, nil, key...))))
	want(t, http.StatusUnauthorized)(admin.client.Call(t.Context(), http.MethodGet, internal, nil))

	setUser(t, s, an, "deleted_at = now()")
	refused(t, http.StatusNotFound, 10002)(admin.client.Call(t.Context(), http.MethodGet, one, nil))
	refused(t, http.StatusNotFound, 10002)(stranger.Call(t.Context(), http.MethodGet, internal, nil, key...))
}

// followTheRow takes an administrator's rights away while they are logged in.
func followTheRow(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1})
	admin, other := administrator(t, s), verified(t, s)
	cancel := "/subscriptions/" + mySubscription(t, other).ID + "/cancel"
	for _, step := range []struct {
		change             string
		me, users, foreign int
	}{
		{"role_hash = NULL", http.StatusOK, http.StatusForbidden, http.StatusNotFound},
		{"is_active = FALSE", http.StatusUnauthorized, http.StatusUnauthorized, http.StatusUnauthorized},
		{"is_active = TRUE, deleted_at = now()", http.StatusUnauthorized, http.StatusUnauthorized, http.StatusUnauthorized},
	} {
		setUser(t, s, admin, step.change)
		for range s.APIs {
			want(t, step.me)(admin.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
			want(t, step.users)(admin.client.Call(t.Context(), http.MethodGet, "/users", nil))
			want(t, step.foreign)(admin.client.Call(t.Context(), http.MethodPost, cancel, nil))
		}
	}
	require.Equal(t, "trialing", mySubscription(t, other).Status)
	answer := want(t, http.StatusOK)(admin.client.Call(t.Context(), http.MethodPost, "/authentication/logout", nil))
	require.Negative(t, answer.Cookie("smap_auth_token").MaxAge)
}

// setUser changes the person's row as another hand at the database would.
func setUser(t *testing.T, s *harness.TestSystem, p *person, change string) {
	t.Helper()
	_, err := s.DB.ExecContext(t.Context(), "UPDATE users SET "+change+" WHERE id = $1", p.id)
	require.NoError(t, err)
}

package app

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/pkg/httpserver"
)

type account struct {
	ID       string
	Username string
	FullName string `json:"full_name"`
	Role     string
}

func TestUsers(t *testing.T) {
	t.Run("are seen and changed by those who may", func(t *testing.T) {
		t.Setenv("INTERNAL_KEY", internalKey)
		p := start(t, t.TempDir())
		p.loginAdmin(t)

		var me account
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/users/me", nil), &me))
		require.Equal(t, []string{admin, "ADMIN", ""}, []string{me.Username, me.Role, me.FullName})
		profile := fields{"full_name": " Quân Lý ", "avatar_url": "https://smap.example/q.png", "role": "USER"}
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodPut, "/users/me", profile), &me))
		require.Equal(t, []string{"Quân Lý", "ADMIN"}, []string{me.FullName, me.Role})
		status, code, _ := p.call(t, http.MethodPut, "/users/me", fields{"full_name": "a\x01"})
		require.Equal(t, []int{http.StatusBadRequest, 10001}, []int{status, code})

		// A row as the previous release may have left it.
		_, err := p.db.Exec(t.Context(), "storing a user", `INSERT INTO users (id, username, created_at, updated_at)
			VALUES ('85127bca-b50f-4bdf-9851-54dccc947b2d', 'An@Example.com', '2025-03-02 10:00:00', '2025-03-02 10:00:00')`)
		require.NoError(t, err)
		var page struct {
			Users    []account
			Metadata httpserver.Paginator
		}
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/users/page?page=2&limit=1", nil), &page))
		require.Equal(t, "85127bca-b50f-4bdf-9851-54dccc947b2d", page.Users[0].ID, "the oldest is the last")
		require.Equal(t, httpserver.Paginator{Total: 2, Count: 1, PerPage: 1, CurrentPage: 2, TotalPages: 2, HasPrev: true}, page.Metadata)
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/users?ids[]="+me.ID, nil), &page))
		require.Equal(t, []account{me}, page.Users)
		status, code, _ = p.call(t, http.MethodGet, "/users?ids=1", nil)
		require.Equal(t, []int{http.StatusBadRequest, 10006}, []int{status, code})

		var one account
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/users/"+me.ID, nil), &one))
		require.Equal(t, me, one)
		status, code, _ = p.call(t, http.MethodGet, "/users/85127bca-b50f-4bdf-9851-54dccc947b2e", nil)
		require.Equal(t, []int{http.StatusNotFound, 10002}, []int{status, code})
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/users/internal/"+me.ID, nil,
			"X-Internal-Key", internalKey), &one))
		require.Equal(t, me, one)
	})

	t.Run("are what their row says, from the next request on", func(t *testing.T) {
		p := start(t, t.TempDir())
		p.loginAdmin(t)
		user, err := authsql.NewUsers(p.db).ByEmail(t.Context(), admin)
		require.NoError(t, err)
		for _, step := range []struct {
			change     string
			me, others int
		}{
			{"role_hash = NULL", http.StatusOK, http.StatusForbidden},
			{"is_active = FALSE", http.StatusUnauthorized, http.StatusUnauthorized},
			{"is_active = TRUE, deleted_at = updated_at", http.StatusUnauthorized, http.StatusUnauthorized},
		} {
			_, err := p.db.Exec(t.Context(), "changing the user", "UPDATE users SET "+step.change+" WHERE id = $1", user.ID)
			require.NoError(t, err)
			for path, want := range map[string]int{"/users/me": step.me, "/authentication/me": step.me, "/users": step.others} {
				status, _, _ := p.call(t, http.MethodGet, path, nil)
				require.Equal(t, want, status, "%s after %s", path, step.change)
			}
		}
	})
}

func TestCookies(t *testing.T) {
	t.Run("of several the first valid one counts, and logout removes every form", func(t *testing.T) {
		t.Setenv("COOKIE_DOMAIN", "smap.example")
		p := start(t, t.TempDir())
		p.client.Jar = nil
		m := &matrix{program: p}
		an, binh := m.person(t, "an", owner, "USER", ""), m.person(t, "binh", other, "USER", "")
		gone := m.person(t, "gone", nobody, "USER", "UPDATE users SET deleted_at = updated_at WHERE id = $1")
		const stale = "smap_auth_token=stale"

		me := func(header ...string) (status int, email string) {
			status, _, data := p.call(t, http.MethodGet, "/authentication/me", nil, header...)
			var answer struct{ Email string }
			if status == http.StatusOK {
				require.NoError(t, json.Unmarshal(data, &answer))
			}
			return status, answer.Email
		}
		for cookies, want := range map[string]string{
			an.header[1]:                             "an@example.com",
			stale + "; " + an.header[1]:              "an@example.com",
			an.header[1] + "; " + stale:              "an@example.com",
			"smap_auth_token=; " + binh.header[1]:    "binh@example.com",
			binh.header[1] + "; " + an.header[1]:     "binh@example.com",
			gone.header[1] + "; " + an.header[1]:     "an@example.com",
			stale + "; x=y; " + binh.header[1] + ";": "binh@example.com",
		} {
			status, email := me("Cookie", cookies)
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, want, email)
		}
		status, email := me("Cookie", stale, "Authorization", "Bearer "+an.header[1][len("smap_auth_token="):])
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "an@example.com", email)
		require.Contains(t, get(t, p.APIURL()+"/metrics"), "\nlogins_mixed_total 2\n")
		require.Contains(t, p.logs.String(), "valid tokens of two users")

		for _, cookies := range []string{stale, an.header[1], gone.header[1], stale + "; " + an.header[1], "x=y"} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.APIURL()+"/authentication/logout", nil)
			require.NoError(t, err)
			request.Header.Set("Cookie", cookies)
			response, err := p.client.Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusOK, response.StatusCode)
			require.Equal(t, []string{
				"smap_auth_token=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
				"smap_auth_token=; Path=/; Domain=smap.example; Max-Age=0; HttpOnly; SameSite=Lax",
			}, response.Header.Values("Set-Cookie"))
		}
	})
}

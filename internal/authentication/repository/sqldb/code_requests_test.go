package sqldb_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

func (s suite) save(requests ...authentication.CodeRequest) {
	s.Helper()
	require.NoError(s, s.within(func(ctx context.Context) error {
		for _, r := range requests {
			if err := s.requests.Save(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (s suite) bind(r authentication.CodeRequest, browser string) {
	s.Helper()
	require.NoError(s, s.within(func(ctx context.Context) error { return s.requests.Bind(ctx, r.ID, []byte(browser)) }))
}

func (s suite) ofAddress(email string) (found []authentication.CodeRequest) {
	s.Helper()
	require.NoError(s, s.within(func(ctx context.Context) (err error) {
		found, err = s.requests.OfAddress(ctx, email, purpose)
		return err
	}))
	return found
}

func (s suite) ofBrowsers(email string, browsers ...string) (ids []string) {
	s.Helper()
	var digests [][]byte
	for _, b := range browsers {
		digests = append(digests, []byte(b))
	}
	require.NoError(s, s.within(func(ctx context.Context) error {
		found, err := s.requests.OfBrowser(ctx, email, purpose, digests)
		for _, r := range found {
			ids = append(ids, r.ID)
		}
		return err
	}))
	return ids
}

func TestCodeRequests(t *testing.T) {
	t.Parallel()

	t.Run("are stored and replaced as they are", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			r, bare := newRequest("An@example.com"), newRequest("binh@example.com")
			bare.UserID, bare.PasswordHash, bare.PasswordTag, bare.Network, bare.Locale = "", "", 0, "", ""
			s.save(r, bare)
			require.Equal(s, []authentication.CodeRequest{r}, s.ofAddress("aN@Example.com"))
			require.Equal(s, []authentication.CodeRequest{bare}, s.ofAddress("binh@example.com"))
			r.Code = authentication.Code{
				Digest: []byte("second"), EventID: "evt_2", WrongTries: 3, CreatedAt: now.Add(time.Minute),
				ExpiresAt: now.Add(11 * time.Minute), UsedAt: now.Add(2 * time.Minute),
			}
			s.save(r)
			require.Equal(s, []authentication.CodeRequest{r}, s.ofAddress("an@example.com"))
		})
	})

	t.Run("are found by address and purpose, the newest code first", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			older, newer, reset := newRequest("an@example.com"), newRequest("an@example.com"), newRequest("an@example.com")
			newer.Code.CreatedAt = now.Add(time.Second)
			reset.Purpose = authentication.PurposeReset
			s.save(newer, older, reset)
			require.Equal(s, []authentication.CodeRequest{newer, older}, s.ofAddress("an@example.com"))
			require.Empty(s, s.ofAddress("other@example.com"))
		})
	})

	t.Run("are found by the browsers they are bound to", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			mine, theirs := newRequest("an@example.com"), newRequest("an@example.com")
			s.save(mine, theirs)
			s.bind(mine, "b1")
			s.bind(mine, "b1") // again
			s.bind(mine, "b2")
			s.bind(theirs, "b3")
			require.Equal(s, []string{mine.ID}, s.ofBrowsers("AN@example.com", "b1"))
			require.Equal(s, []string{mine.ID}, s.ofBrowsers("an@example.com", "x", "b2", "b1"))
			require.Len(s, s.ofBrowsers("an@example.com", "b2", "b3"), 2)
			require.Empty(s, s.ofBrowsers("an@example.com", "b4"))
			require.Empty(s, s.ofBrowsers("an@example.com"))
			require.Empty(s, s.ofBrowsers("other@example.com", "b1"))
		})
	})

	t.Run("are looked for by browser without a lock or a write", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			r := newRequest("an@example.com")
			s.save(r)
			s.bind(r, "b1")
			s.bothWays(func(ctx context.Context) {
				for _, c := range []struct {
					email    string
					purpose  authentication.Purpose
					browsers [][]byte
					want     bool
				}{
					{"AN@example.com", purpose, [][]byte{[]byte("x"), []byte("b1")}, true},
					{"an@example.com", purpose, [][]byte{[]byte("b2")}, false},
					{"an@example.com", purpose, nil, false},
					{"an@example.com", authentication.PurposeReset, [][]byte{[]byte("b1")}, false},
					{"other@example.com", purpose, [][]byte{[]byte("b1")}, false},
				} {
					bound, err := s.requests.Bound(ctx, c.email, c.purpose, c.browsers)
					require.NoError(s, err)
					require.Equal(s, c.want, bound, c)
				}
				if s.db.Dialect() == database.Postgres {
					var written bool
					require.NoError(s, s.db.Conn(ctx).QueryRowContext(ctx,
						"SELECT pg_current_xact_id_if_assigned() IS NOT NULL").Scan(&written))
					require.False(s, written)
				}
			})
		})
	})

	t.Run("are found by the tag of their password", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			r, second := newRequest("an@example.com"), newRequest("an@example.com")
			second.PasswordTag = 1
			other, reset, bare := newRequest("binh@example.com"), newRequest("an@example.com"), newRequest("an@example.com")
			reset.Purpose = authentication.PurposeReset
			bare.PasswordHash = ""
			used := newRequest("an@example.com") // its password is the user's now, until they choose another
			used.Code.UsedAt = now
			s.save(r, second, other, reset, bare, used)
			s.bothWays(func(ctx context.Context) {
				found, err := s.requests.OfPassword(ctx, "AN@example.com", []uint16{65535, 7})
				require.NoError(s, err)
				require.Equal(s, []authentication.CodeRequest{r}, found)
				found, err = s.requests.OfPassword(ctx, "an@example.com", []uint16{1, 65535})
				require.NoError(s, err)
				require.ElementsMatch(s, []authentication.CodeRequest{r, second}, found)
				found, err = s.requests.OfPassword(ctx, "an@example.com", []uint16{2})
				require.NoError(s, err)
				require.Empty(s, found)
			})
		})
	})

	t.Run("are found by the event of their newest code", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			r := newRequest("an@example.com")
			s.save(r)
			s.bothWays(func(ctx context.Context) {
				found, err := s.requests.ByEvent(ctx, r.Code.EventID)
				require.NoError(s, err)
				require.Equal(s, r, found)
				_, err = s.requests.ByEvent(ctx, "evt_other")
				require.ErrorIs(s, err, authentication.ErrCodeNotFound)
			})
		})
	})

	t.Run("are removed with what is bound to them", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			one, two := newRequest("an@example.com"), newRequest("an@example.com")
			s.save(one, two)
			s.bind(one, "b1")
			remove := func(ids ...string) {
				require.NoError(s, s.within(func(ctx context.Context) error { return s.requests.Delete(ctx, ids) }))
			}
			remove()
			remove(one.ID, uuid.NewString())
			require.Equal(s, []authentication.CodeRequest{two}, s.ofAddress("an@example.com"))
			var bound int
			require.NoError(s, s.db.Conn(t.Context()).QueryRowContext(t.Context(), "SELECT count(*) FROM code_request_browsers").Scan(&bound))
			require.Zero(s, bound)
			n, err := s.requests.PurgeOlderThan(context.Background(), now)
			require.NoError(s, err)
			require.Zero(s, n)
			n, err = s.requests.PurgeOlderThan(context.Background(), now.Add(time.Microsecond))
			require.NoError(s, err)
			require.Equal(s, int64(1), n)
		})
	})

	t.Run("are changed in a transaction only", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			ctx, r := context.Background(), newRequest("an@example.com")
			require.ErrorIs(s, s.requests.Save(ctx, r), database.ErrNoTx)
			require.ErrorIs(s, s.requests.Bind(ctx, r.ID, []byte("b")), database.ErrNoTx)
			require.ErrorIs(s, s.requests.Delete(ctx, []string{r.ID}), database.ErrNoTx)
			_, err := s.requests.OfAddress(ctx, "an@example.com", purpose)
			require.ErrorIs(s, err, database.ErrNoTx)
			_, err = s.requests.OfBrowser(ctx, "an@example.com", purpose, nil)
			require.ErrorIs(s, err, database.ErrNoTx)
		})
	})

	t.Run("lose no count when many try at once", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			r := newRequest("an@example.com")
			s.save(r)
			s.bind(r, "b1")
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					_ = s.within(func(ctx context.Context) error {
						found, err := s.requests.OfBrowser(ctx, "an@example.com", purpose, [][]byte{[]byte("b1")})
						if err != nil {
							return err
						}
						found[0].Code.WrongTries++
						return s.requests.Save(ctx, found[0])
					})
				})
			}
			all.Wait()
			require.Equal(s, 10, s.ofAddress("an@example.com")[0].Code.WrongTries)
		})
	})
}

func TestNotices(t *testing.T) {
	t.Parallel()
	t.Run("are claimed once an hour, and again by the same event", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			notices, user := newNotices(s), uuid.NewString()
			claim := func(userID, eventID string, after time.Duration) bool {
				at := now.Add(after)
				claimed, err := notices.Claim(context.Background(), userID, eventID, at, at.Add(-time.Hour))
				require.NoError(s, err)
				return claimed
			}
			require.True(s, claim(user, "evt_1", 0))
			require.True(s, claim(user, "evt_1", time.Second), "a repeat")
			require.False(s, claim(user, "evt_2", time.Hour))
			require.True(s, claim(uuid.NewString(), "evt_3", 0), "another user's")
			require.True(s, claim(user, "evt_4", time.Hour+time.Second))
			n, err := notices.PurgeOlderThan(context.Background(), now.Add(time.Hour))
			require.NoError(s, err)
			require.Equal(s, int64(1), n)
		})
	})
}

func TestAllCodeRequests(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		older, reset, other := newRequest("An@example.com"), newRequest("an@example.com"), newRequest("binh@example.com")
		reset.Purpose, reset.Code.CreatedAt = authentication.PurposeReset, now.Add(time.Minute)
		s.save(older, reset, other)
		found, err := s.requests.All(context.Background(), "AN@example.com")
		require.NoError(s, err)
		require.Equal(s, []authentication.CodeRequest{reset, older}, found)
	})
}

package sqldb_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

var sessionPolicy = authentication.SessionPolicy{Idle: 2 * time.Hour, Remember: 30 * 24 * time.Hour}

// openSession stores a session of the user.
func (s suite) openSession(userID string, at time.Time) authentication.Session {
	s.Helper()
	session := sessionPolicy.Open(uuid.Must(uuid.NewV7()).String(), userID, false, authentication.Client{
		UserAgent: "Firefox", Device: "An's phone",
	}, at)
	require.NoError(s, s.sessions.Create(context.Background(), session))
	return session
}

func (s suite) session(id string) authentication.Session {
	s.Helper()
	found, _, err := s.sessions.Find(context.Background(), id)
	require.NoError(s, err)
	return found
}

// claims are those of the session's token that was issued then.
func claims(of authentication.Session, issued, expires time.Time) authentication.Claims {
	return authentication.Claims{UserID: of.UserID, SessionID: of.ID, IssuedAt: issued, ExpiresAt: expires}
}

func TestSessions(t *testing.T) {
	ctx := context.Background()

	t.Run("are found with their user, also under a lock", func(t *testing.T) {
		each(t, func(s suite) {
			an := s.createUser("an@example.com")
			want := s.openSession(an.ID, now)
			s.bothWays(func(ctx context.Context) {
				session, user, err := s.sessions.Find(ctx, want.ID)
				require.NoError(s, err)
				require.Equal(s, want, session)
				require.Equal(s, an, user)
			})
			require.NoError(s, s.within(func(ctx context.Context) error {
				session, user, err := s.sessions.Lock(ctx, want.ID)
				require.Equal(s, want, session)
				require.Equal(s, an, user)
				return err
			}))
			_, _, err := s.sessions.Lock(ctx, want.ID)
			require.ErrorIs(s, err, database.ErrNoTx)
		})
	})

	t.Run("are not found without a user", func(t *testing.T) {
		each(t, func(s suite) {
			deleted, erased := s.createUser("an@example.com"), s.createUser("binh@example.com")
			gone := []string{s.openSession(deleted.ID, now).ID, s.openSession(erased.ID, now).ID, uuid.NewString(), "no uuid"}
			s.exec("UPDATE users SET deleted_at = $1 WHERE id = $2", now, deleted.ID)
			s.exec("DELETE FROM users WHERE id = $1", erased.ID)
			for _, id := range gone {
				_, _, err := s.sessions.Find(ctx, id)
				require.ErrorIs(s, err, authentication.ErrSessionNotFound)
			}
		})
	})

	t.Run("keep their last use, once a minute, and the newest token shown", func(t *testing.T) {
		each(t, func(s suite) {
			opened := s.openSession(s.createUser("an@example.com").ID, now)
			newer := opened.NewestIAT.Add(time.Second)
			for _, step := range []struct {
				at, issued, seen, newest time.Time
			}{
				{now.Add(59 * time.Second), opened.NewestIAT, now, opened.NewestIAT},
				{now.Add(59 * time.Second), newer, now, newer},
				{now.Add(time.Minute), opened.NewestIAT, now.Add(time.Minute), newer},
				{now.Add(90 * time.Second), newer, now.Add(time.Minute), newer},
			} {
				require.NoError(s, s.sessions.Seen(ctx, opened.ID, step.at, step.issued))
				got := s.session(opened.ID)
				require.Equal(s, step.seen, got.LastSeenAt)
				require.Equal(s, step.newest, got.NewestIAT)
			}
			s.exec("UPDATE sessions SET ended_at = $1", now)
			require.NoError(s, s.sessions.Seen(ctx, opened.ID, now.Add(time.Hour), newer.Add(time.Hour)))
			require.Equal(s, now.Add(time.Minute), s.session(opened.ID).LastSeenAt, "one that has ended is over")
		})
	})

	t.Run("end with their tokens", func(t *testing.T) {
		each(t, func(s suite) {
			an, later := s.createUser("an@example.com"), now.Add(time.Hour)
			for name, tc := range map[string]struct {
				token func(authentication.Session) authentication.Claims
				ended bool
			}{
				"a valid one": {func(of authentication.Session) authentication.Claims { return claims(of, now, later.Add(1)) }, true},
				"an old valid one": {func(of authentication.Session) authentication.Claims {
					return claims(of, now.Add(-time.Hour), later.Add(time.Second))
				}, true},
				"the newest, expired": {func(of authentication.Session) authentication.Claims { return claims(of, of.NewestIAT, later) }, true},
				"a copy, expired":     {func(of authentication.Session) authentication.Claims { return claims(of, of.NewestIAT.Add(-1), later) }, false},
				"another user's": {func(of authentication.Session) authentication.Claims {
					c := claims(of, now, later.Add(time.Second))
					c.UserID = uuid.NewString()
					return c
				}, false},
				"one of no session": {func(of authentication.Session) authentication.Claims {
					return authentication.Claims{UserID: of.UserID, ExpiresAt: later.Add(time.Second)}
				}, false},
			} {
				session := s.openSession(an.ID, now)
				require.NoError(s, s.sessions.EndTokens(ctx, []authentication.Claims{tc.token(session)}, later), name)
				want := time.Time{}
				if tc.ended {
					want = later
				}
				require.Equal(s, want, s.session(session.ID).EndedAt, name)
			}
		})
	})

	t.Run("end by their id for their user alone, once", func(t *testing.T) {
		each(t, func(s suite) {
			an, binh := s.createUser("an@example.com"), s.createUser("binh@example.com")
			session := s.openSession(an.ID, now)
			for _, id := range []string{uuid.NewString(), "no uuid"} {
				require.ErrorIs(s, s.sessions.End(ctx, an.ID, id, now), authentication.ErrSessionNotFound)
			}
			require.ErrorIs(s, s.sessions.End(ctx, binh.ID, session.ID, now), authentication.ErrSessionNotFound)
			require.NoError(s, s.sessions.End(ctx, an.ID, session.ID, now))
			require.ErrorIs(s, s.sessions.End(ctx, an.ID, session.ID, now), authentication.ErrSessionNotFound)
			over := s.openSession(an.ID, now)
			require.ErrorIs(s, s.sessions.End(ctx, an.ID, over.ID, over.ExpiresAt), authentication.ErrSessionNotFound)
		})
	})

	t.Run("end together but for one", func(t *testing.T) {
		each(t, func(s suite) {
			an, binh := s.createUser("an@example.com"), s.createUser("binh@example.com")
			kept, ended, others := s.openSession(an.ID, now), s.openSession(an.ID, now), s.openSession(binh.ID, now)
			require.NoError(s, s.sessions.EndOthers(ctx, an.ID, kept.ID, now))
			require.Zero(s, s.session(kept.ID).EndedAt)
			require.Equal(s, now, s.session(ended.ID).EndedAt)
			require.NoError(s, s.sessions.EndOthers(ctx, an.ID, "", now.Add(time.Second)))
			require.Equal(s, now.Add(time.Second), s.session(kept.ID).EndedAt)
			require.Equal(s, now, s.session(ended.ID).EndedAt, "as it was")
			require.Zero(s, s.session(others.ID).EndedAt)
		})
	})

	t.Run("are listed by their last use", func(t *testing.T) {
		each(t, func(s suite) {
			an, binh := s.createUser("an@example.com"), s.createUser("binh@example.com")
			first, second, ended := s.openSession(an.ID, now), s.openSession(an.ID, now.Add(time.Minute)), s.openSession(an.ID, now)
			s.openSession(binh.ID, now)
			s.openSession(an.ID, now.Add(-24*time.Hour))
			require.NoError(s, s.sessions.End(ctx, an.ID, ended.ID, now))
			got, err := s.sessions.List(ctx, an.ID, now, 10)
			require.NoError(s, err)
			require.Equal(s, []authentication.Session{second, first}, got)
			got, err = s.sessions.List(ctx, an.ID, now, 1)
			require.NoError(s, err)
			require.Equal(s, []authentication.Session{second}, got)
		})
	})

	t.Run("are purged once they are over and long unused", func(t *testing.T) {
		each(t, func(s suite) {
			an, then := s.createUser("an@example.com"), now.Add(-30*24*time.Hour)
			s.openSession(an.ID, then.Add(-25*time.Hour)) // over
			ended := s.openSession(an.ID, then.Add(-time.Hour))
			require.NoError(s, s.sessions.End(ctx, an.ID, ended.ID, then.Add(-time.Minute)))
			kept := []string{s.openSession(an.ID, then.Add(-time.Hour)).ID, s.openSession(an.ID, now).ID}
			n, err := s.sessions.PurgeOlderThan(ctx, then)
			require.NoError(s, err)
			require.EqualValues(s, 2, n)
			for _, id := range kept {
				s.session(id)
			}
		})
	})

	t.Run("let one of a logout and a renewal wait for the other", func(t *testing.T) {
		each(t, func(s suite) {
			if s.db.Dialect() != database.Postgres {
				return // its one writer waits for every other
			}
			an := s.createUser("an@example.com")
			session := s.openSession(an.ID, now)
			locked, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			go func() {
				ended <- s.within(func(ctx context.Context) error {
					if _, _, err := s.sessions.Lock(ctx, session.ID); err != nil {
						return err
					}
					close(locked)
					<-release
					return nil
				})
			}()
			<-locked
			impatient, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			require.Error(s, s.sessions.End(impatient, an.ID, session.ID, now))
			_, _, err := s.sessions.Find(ctx, session.ID)
			require.NoError(s, err, "reading waits for nobody")
			close(release)
			require.NoError(s, <-ended)
			require.NoError(s, s.sessions.End(ctx, an.ID, session.ID, now))
		})
	})
}

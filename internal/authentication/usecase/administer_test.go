package usecase_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/audit/audittest"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/mock"
	"github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

const eraseAfter = 30 * 24 * time.Hour

// office is an Administration on mocks.
type office struct {
	*usecase.Administration
	*fixture
	users *mock.MockAdministeredRepository
	ended *mock.MockSubscriptionEnder
}

func newOffice(t *testing.T) *office {
	t.Helper()
	ctrl := gomock.NewController(t)
	f := newFixture(t)
	f.clock.now = start.Add(time.Hour)
	o := &office{fixture: f, users: mock.NewMockAdministeredRepository(ctrl), ended: mock.NewMockSubscriptionEnder(ctrl)}
	o.Administration = usecase.NewAdministration(usecase.AdministrationDeps{
		Tx: f.tx, Users: o.users, Requests: f.requests, Sessions: f.sessions, Subscriptions: o.ended, Events: f.events,
		Audit: f.audit, Clock: f.clock, EraseAfter: eraseAfter,
	})
	return o
}

func user(change func(*authentication.User)) authentication.User {
	u := activeUser()
	if change != nil {
		change(&u)
	}
	return u
}

func adminUser(id string) authentication.User {
	return user(func(u *authentication.User) { u.ID, u.Role = id, authentication.RoleAdmin })
}

// locks expects that the administrators are locked, and then the user.
func (o *office) locks(target authentication.User, admins ...authentication.User) {
	if admins == nil {
		admins = []authentication.User{adminUser(anAdmin.UserID)}
	}
	gomock.InOrder(
		o.users.EXPECT().LockAdmins(inside).Return(admins, nil),
		o.users.EXPECT().LockByID(inside, target.ID).Return(target, nil),
	)
}

// ends expects that sessions and codes of the user end.
func (o *office) ends() {
	o.requests.EXPECT().OfAddress(inside, email, authentication.PurposeReset).
		Return([]authentication.CodeRequest{storedRequest()}, nil)
	o.requests.EXPECT().Delete(inside, []string{requestID})
	o.sessions.EXPECT().EndOthers(inside, userID, "", o.clock.now)
}

func (o *office) keys() (keys []event.RoutingKey) {
	for _, e := range o.events.Events() {
		keys = append(keys, e.Key)
	}
	return keys
}

func TestDisable(t *testing.T) {
	t.Parallel()
	disabled := func(u *authentication.User) {
		u.DisabledAt, u.TokensValidAfter, u.UpdatedAt = start.Add(time.Hour), start.Add(time.Hour), start.Add(time.Hour)
	}

	t.Run("ends what is open and says so", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t)
		o.locks(activeUser())
		o.users.EXPECT().Update(inside, user(disabled))
		o.ends()
		got, err := o.Disable(context.Background(), anAdmin, userID, "fraud")
		require.NoError(t, err)
		require.Equal(t, user(disabled), got)
		require.Equal(t, []event.RoutingKey{event.UserDisabled, event.EmailSecurityNoticeRequested}, o.keys())
		require.Equal(t, event.NoticeAccountDisabled, o.events.Events()[1].Data.(event.SecurityNotice).Kind)
		require.Equal(t, []audit.Entry{{
			Action: audit.UserDisabled, ActorID: anAdmin.UserID, UserID: userID, Details: audit.Details{Reason: "fraud"},
		}}, o.audit.entries)
		o.requireTx(t, 1, 0)
	})

	t.Run("mails nothing to an address that was not proven", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t)
		o.locks(pendingUser())
		o.users.EXPECT().Update(inside, gomock.Any())
		o.ends()
		_, err := o.Disable(context.Background(), authentication.Operator, userID, "")
		require.NoError(t, err)
		require.Equal(t, []event.RoutingKey{event.UserDisabled}, o.keys())
	})

	t.Run("changes nothing twice", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t)
		o.locks(user(disabled))
		_, err := o.Disable(context.Background(), anAdmin, userID, "")
		require.NoError(t, err)
		require.Empty(t, o.keys())
		require.Empty(t, o.audit.entries)
	})

	t.Run("is undone", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t)
		o.locks(user(disabled))
		o.users.EXPECT().Update(inside, user(func(u *authentication.User) {
			disabled(u)
			u.DisabledAt = time.Time{}
		}))
		got, err := o.Enable(context.Background(), anAdmin, userID)
		require.NoError(t, err)
		require.True(t, got.Admitted())
		require.Equal(t, []event.RoutingKey{event.UserEnabled}, o.keys())
		require.Equal(t, []audit.Action{audit.UserEnabled}, o.audit.actions())

		o = newOffice(t)
		o.locks(activeUser())
		_, err = o.Enable(context.Background(), anAdmin, userID)
		require.NoError(t, err)
		require.Empty(t, o.keys())
	})
}

func TestChangeRole(t *testing.T) {
	t.Parallel()
	t.Run("ends tokens without a session and says what changed", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t)
		o.locks(activeUser())
		promoted := user(func(u *authentication.User) {
			u.Role, u.TokensValidAfter, u.UpdatedAt = authentication.RoleAdmin, o.clock.now, o.clock.now
		})
		o.users.EXPECT().Update(inside, promoted)
		got, err := o.ChangeRole(context.Background(), anAdmin, userID, authentication.RoleAdmin)
		require.NoError(t, err)
		require.Equal(t, promoted, got)
		require.Equal(t, "USER to ADMIN", o.audit.entries[0].Reason)

		o.locks(promoted)
		_, err = o.ChangeRole(context.Background(), anAdmin, userID, authentication.RoleAdmin)
		require.NoError(t, err)
		require.Len(t, o.audit.entries, 1)
	})
	t.Run("refuses what is no role", func(t *testing.T) {
		t.Parallel()
		_, err := newOffice(t).ChangeRole(context.Background(), anAdmin, userID, "ROOT")
		require.ErrorIs(t, err, authentication.ErrProfile)
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	t.Run("ends everything and says when data are erased", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t)
		o.locks(activeUser())
		o.ends()
		o.ended.EXPECT().EndSubscription(inside, userID, anAdmin.UserID)
		o.users.EXPECT().Delete(inside, userID, o.clock.now)
		_, err := o.Delete(context.Background(), anAdmin, userID, "asked for it")
		require.NoError(t, err)
		require.Equal(t, []event.RoutingKey{event.UserDeleted, event.EmailSecurityNoticeRequested}, o.keys())
		require.Equal(t, event.UserDeletedData{UserID: userID, OccurredAt: o.clock.now, EraseAt: o.clock.now.Add(eraseAfter)},
			o.events.Events()[0].Data)
		require.Equal(t, event.NoticeAccountDeleted, o.events.Events()[1].Data.(event.SecurityNotice).Kind)
		require.Equal(t, []audit.Action{audit.UserDeleted}, o.audit.actions())
	})

	t.Run("fails as a whole", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t)
		o.locks(activeUser())
		o.ends()
		o.ended.EXPECT().EndSubscription(inside, userID, anAdmin.UserID).Return(errBroken)
		_, err := o.Delete(context.Background(), anAdmin, userID, "")
		require.ErrorIs(t, err, errBroken)
		o.requireTx(t, 0, 1)
	})

	t.Run("by the user takes the password", func(t *testing.T) {
		t.Parallel()
		changed := user(func(u *authentication.User) { u.PasswordHash = "another hash" })
		tests := []struct {
			name   string
			stored authentication.User
			right  bool
			want   error
			calls  []string
		}{
			{"right", activeUser(), true, nil, []string{"login", "login undone"}},
			{"wrong", activeUser(), false, authentication.ErrWrongPassword, []string{"login"}},
			{"changed meanwhile", changed, true, authentication.ErrWrongPassword, []string{"login", "login undone"}},
			{"the last administrator", adminUser(userID), true, authentication.ErrLastAdmin, []string{"login", "login undone"}},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				o := newOffice(t)
				o.passwords.EXPECT().Verify(outside, "stored hash", password).Return(tt.right, false, nil)
				if tt.right {
					admins := []authentication.User{adminUser(anAdmin.UserID)}
					if tt.stored.Role == authentication.RoleAdmin {
						admins = []authentication.User{tt.stored}
					}
					o.locks(tt.stored, admins...)
				}
				if tt.want == nil {
					o.ends()
					o.ended.EXPECT().EndSubscription(inside, userID, userID)
					o.users.EXPECT().Delete(inside, userID, o.clock.now)
				}
				d := usecase.NewDeleter(o.Administration, o.guard, o.passwords)
				require.ErrorIs(t, d.DeleteOwn(context.Background(), activeUser(), password, client()), tt.want)
				require.Equal(t, tt.calls, o.guard.calls)
			})
		}
	})

	t.Run("by the user is refused while the address is locked", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t)
		o.guard.refuse = map[string]error{"login": authentication.TryAgainIn(time.Minute)}
		d := usecase.NewDeleter(o.Administration, o.guard, o.passwords)
		require.ErrorIs(t, d.DeleteOwn(context.Background(), activeUser(), password, client()), errLimited)
	})
}

func TestEndSessions(t *testing.T) {
	t.Parallel()
	t.Run("of one user", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t)
		o.locks(activeUser())
		o.users.EXPECT().Update(inside, user(func(u *authentication.User) {
			u.TokensValidAfter, u.UpdatedAt = o.clock.now, o.clock.now
		}))
		o.sessions.EXPECT().EndOthers(inside, userID, "", o.clock.now)
		require.NoError(t, o.EndSessions(context.Background(), authentication.Operator, userID))
		require.Equal(t, []audit.Action{audit.SessionsEnded}, o.audit.actions())
	})
	t.Run("of everybody", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t)
		o.sessions.EXPECT().EndAll(inside, o.clock.now).Return(int64(7), nil)
		n, err := o.EndAllSessions(context.Background(), authentication.Operator)
		require.NoError(t, err)
		require.EqualValues(t, 7, n)
		_, err = o.EndAllSessions(context.Background(), aUser)
		require.ErrorIs(t, err, authentication.ErrForbidden)
	})
}

func TestAdministration(t *testing.T) {
	t.Parallel()
	verbs := map[string]func(o *office, actor authentication.Actor, reason string) error{
		"disable": func(o *office, actor authentication.Actor, reason string) error {
			_, err := o.Disable(context.Background(), actor, userID, reason)
			return err
		},
		"demote": func(o *office, actor authentication.Actor, _ string) error {
			_, err := o.ChangeRole(context.Background(), actor, userID, authentication.RoleUser)
			return err
		},
		"delete": func(o *office, actor authentication.Actor, reason string) error {
			_, err := o.Delete(context.Background(), actor, userID, reason)
			return err
		},
	}
	for name, verb := range verbs {
		t.Run("refuses to "+name, func(t *testing.T) {
			t.Parallel()
			t.Run("for users", func(t *testing.T) {
				t.Parallel()
				require.ErrorIs(t, verb(newOffice(t), aUser, ""), authentication.ErrForbidden)
			})
			t.Run("for one who is no administrator any more", func(t *testing.T) {
				t.Parallel()
				o := newOffice(t)
				off := adminUser(anAdmin.UserID)
				off.DisabledAt = start
				o.locks(activeUser(), off, adminUser(sessionID))
				require.ErrorIs(t, verb(o, anAdmin, ""), authentication.ErrForbidden)
			})
			t.Run("somebody unknown", func(t *testing.T) {
				t.Parallel()
				o := newOffice(t)
				o.users.EXPECT().LockAdmins(inside).Return([]authentication.User{adminUser(anAdmin.UserID)}, nil)
				o.users.EXPECT().LockByID(inside, userID).Return(authentication.User{}, authentication.ErrUserNotFound)
				require.ErrorIs(t, verb(o, anAdmin, ""), authentication.ErrNoUser)
			})
			t.Run("the last active administrator", func(t *testing.T) {
				t.Parallel()
				for _, idle := range []func(*authentication.User){
					func(u *authentication.User) { u.DisabledAt = start },
					func(u *authentication.User) { u.Active = false },
				} {
					other := adminUser(sessionID)
					idle(&other)
					o := newOffice(t)
					o.locks(adminUser(userID), adminUser(userID), other)
					require.ErrorIs(t, verb(o, authentication.Operator, ""), authentication.ErrLastAdmin)
					require.Empty(t, o.keys())
				}
			})
		})
	}
	t.Run("refuses a reason that cannot be stored", func(t *testing.T) {
		t.Parallel()
		for _, reason := range []string{strings.Repeat("ắ", 501), "a\x00b", "a\x1b[31m"} {
			require.ErrorIs(t, verbs["disable"](newOffice(t), anAdmin, reason), authentication.ErrProfile)
			require.ErrorIs(t, verbs["delete"](newOffice(t), anAdmin, reason), authentication.ErrProfile)
		}
	})
	t.Run("finds by address", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t)
		o.users.EXPECT().ByEmail(outside, email).Return(activeUser(), nil)
		got, err := o.Find(context.Background(), " "+email)
		require.NoError(t, err)
		require.Equal(t, activeUser(), got)
		_, err = o.Find(context.Background(), "an")
		require.ErrorIs(t, err, authentication.ErrInvalidEmail)
	})
}

type noEnder struct{}

func (noEnder) EndSubscription(context.Context, string, string) error { return nil }

// Whatever two do to each other at the same time, an active administrator is left.
func TestLastAdministrator(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		users := sqldb.NewUsers(db)
		f := newFixture(t)
		events := &txEvents{}
		a := usecase.NewAdministration(usecase.AdministrationDeps{
			Tx: db, Users: users, Requests: sqldb.NewCodeRequests(db), Sessions: sqldb.NewSessions(db), Subscriptions: noEnder{},
			Events: events, Audit: &audittest.Recorder{}, Clock: f.clock, EraseAfter: eraseAfter,
		})
		verbs := []func(actor, target string) error{
			func(actor, target string) error {
				_, err := a.Disable(t.Context(), authentication.Actor{UserID: actor, Admin: true}, target, "")
				return err
			},
			func(actor, target string) error {
				_, err := a.ChangeRole(t.Context(), authentication.Actor{UserID: actor, Admin: true}, target, authentication.RoleUser)
				return err
			},
			func(actor, target string) error {
				_, err := a.Delete(t.Context(), authentication.Actor{UserID: actor, Admin: true}, target, "")
				return err
			},
		}
		for round := range 3 * len(verbs) {
			ids := []string{event.NewID()[4:], event.NewID()[4:]}
			for _, id := range ids {
				u := adminUser(id)
				u.Email = id + "@example.com"
				require.NoError(t, users.Create(t.Context(), u))
			}
			var both sync.WaitGroup
			results := make([]error, 2)
			for i := range ids {
				both.Go(func() { results[i] = verbs[(round+i)%len(verbs)](ids[i], ids[1-i]) })
			}
			both.Wait()
			succeeded := 0
			for _, err := range results {
				if err == nil {
					succeeded++
					continue
				}
				refused := errors.Is(err, authentication.ErrForbidden) || errors.Is(err, authentication.ErrLastAdmin)
				require.True(t, refused, "%v", err)
			}
			require.Equal(t, 1, succeeded)
			admins, err := users.Admins(t.Context())
			require.NoError(t, err)
			left := 0
			for _, u := range admins {
				if u.Admitted() {
					left++
				}
			}
			require.Equal(t, 1, left)
			_, err = db.Exec(t.Context(), "clearing", "DELETE FROM users")
			require.NoError(t, err)
		}
	})
}

type txEvents struct{}

func (*txEvents) Publish(context.Context, ...event.Event) error { return nil }

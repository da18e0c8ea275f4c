package usecase_test

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	auditsql "github.com/smap-platform/identity/internal/audit/repository/sqldb"
	auditcase "github.com/smap-platform/identity/internal/audit/usecase"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/mock"
	"github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// guarded is a Guard on real limits.
type guarded struct {
	*testing.T
	*usecase.Guard
	db      *database.DB
	clock   *fakeClock
	mu      sync.Mutex
	refused map[authentication.LimitKind]int
}

func eachGuarded(t *testing.T, test func(g *guarded)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		g := &guarded{T: t, db: db, clock: &fakeClock{start}, refused: map[authentication.LimitKind]int{}}
		g.Guard = usecase.NewGuard(usecase.GuardDeps{
			Tx: db, Limits: sqldb.NewLimits(db), Clock: g.clock, Keys: authentication.CodeKeys{codeKey},
			Users: sqldb.NewUsers(db), Audit: auditcase.NewRecorder(auditsql.NewEntries(db), g.clock),
			Refused: func(_ context.Context, kind authentication.LimitKind) {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.refused[kind]++
			},
		})
		test(g)
	})
}

func from(ip string) authentication.Client {
	if ip == "" {
		return authentication.Client{}
	}
	return authentication.Client{IP: netip.MustParseAddr(ip)}
}

func (g *guarded) wrongPassword(ip string) error {
	return g.Login(g.Context(), email, from(ip))
}

// send asks whether a code may be sent, and sends it. The one says what the other does.
func (g *guarded) send(ip string, kind authentication.SendKind) (err error) {
	may := g.MaySend(g.Context(), email, from(ip), kind)
	defer func() { require.Equal(g, err, may) }()
	return g.db.WithinTx(g.Context(), func(ctx context.Context) error { return g.Send(ctx, email, from(ip), kind) })
}

var errLimited = authentication.TryAgainIn(time.Second)

func TestGuard(t *testing.T) {
	t.Parallel()

	t.Run("pauses the network that guesses passwords, and no other", func(t *testing.T) {
		t.Parallel()
		eachGuarded(t, func(g *guarded) {
			for range authentication.LoginTries {
				require.NoError(g, g.wrongPassword("203.0.113.7"))
			}
			require.ErrorIs(g, g.wrongPassword("203.0.113.200"), errLimited, "the same network")
			require.Equal(g, 1, g.refused[authentication.LimitLogin])
			require.NoError(g, g.wrongPassword("198.51.100.1"))
			require.NoError(g, g.Login(g.Context(), "other@example.com", from("203.0.113.7")), "another address")
			g.clock.now = start.Add(15 * time.Minute)
			require.NoError(g, g.wrongPassword("203.0.113.7"))
		})
	})

	t.Run("records the first refusal in a row", func(t *testing.T) {
		t.Parallel()
		eachGuarded(t, func(g *guarded) {
			require.NoError(g, sqldb.NewUsers(g.db).Create(g.Context(), activeUser()))
			recorded := func() (actions []string) {
				all, err := database.All(g.Context(), g.db, "reading", database.Text,
					"SELECT action || ' ' || address || ' ' || COALESCE(CAST(user_id AS text), '') FROM audit_entries ORDER BY at, id")
				require.NoError(g, err)
				return all
			}
			lock := func(address, ip string) {
				for range authentication.LoginTries {
					require.NoError(g, g.Login(g.Context(), address, from(ip)))
				}
				var all sync.WaitGroup
				for range 3 {
					all.Go(func() { _ = g.Login(g.Context(), address, from(ip)) })
				}
				all.Wait()
				require.ErrorIs(g, g.Login(g.Context(), address, from(ip)), errLimited)
			}
			lock(email, "203.0.113.7")
			want := []string{"login.locked " + email + " " + userID}
			require.Equal(g, want, recorded())
			lock("nobody@example.com", "203.0.113.7")
			want = append(want, "login.locked nobody@example.com ")
			require.Equal(g, want, recorded(), "of an unknown address as well")

			g.clock.now = start.Add(authentication.LoginPause)
			require.NoError(g, g.wrongPassword("203.0.113.7"))
			for range authentication.LoginTries - 1 {
				require.NoError(g, g.wrongPassword("203.0.113.7"))
			}
			require.ErrorIs(g, g.wrongPassword("203.0.113.7"), errLimited)
			want = append(want, "login.locked "+email+" "+userID)
			require.Equal(g, want, recorded(), "the next row of refusals")

			for range authentication.SendsPerHour {
				require.NoError(g, g.send("203.0.113.7", authentication.SendRegistration))
			}
			for range 2 {
				require.ErrorIs(g, g.send("203.0.113.7", authentication.SendRegistration), errLimited)
			}
			require.Equal(g, append(want, "codes.locked "+email+" "+userID), recorded())
		})
	})

	t.Run("lets no more passwords through at once than one after the other", func(t *testing.T) {
		t.Parallel()
		eachGuarded(t, func(g *guarded) {
			tries := func(ip string) int {
				var passed atomic.Int32
				var all sync.WaitGroup
				for range 3 * authentication.LoginTries {
					all.Go(func() {
						if g.Login(g.Context(), email, from(ip)) == nil {
							passed.Add(1)
						}
					})
				}
				all.Wait()
				return int(passed.Load())
			}
			require.Equal(g, authentication.LoginTries, tries("203.0.113.7"))
			require.Equal(g, authentication.LoginTries, tries("198.51.100.1"))
			require.NoError(g, g.LoginSucceeded(g.Context(), email, from("198.51.100.1")))
			require.Equal(g, authentication.LoginTries, tries("198.51.100.1"), "of a known network")
		})
	})

	t.Run("takes back what was no guess", func(t *testing.T) {
		t.Parallel()
		eachGuarded(t, func(g *guarded) {
			require.NoError(g, g.LoginUndone(g.Context(), email, from("203.0.113.7")), "nothing, where nothing is counted")
			for range authentication.StrangerTries + authentication.StrangerPerHour {
				require.NoError(g, g.Login(g.Context(), email, from("203.0.113.7")))
				require.NoError(g, g.LoginUndone(g.Context(), email, from("203.0.113.7")))
			}
			for range authentication.LoginTries {
				require.NoError(g, g.wrongPassword("203.0.113.7"))
			}
			require.ErrorIs(g, g.wrongPassword("203.0.113.7"), errLimited)
			require.NoError(g, g.wrongPassword("192.0.2.1"))
		})
	})

	t.Run("counts for a client that has gone", func(t *testing.T) {
		t.Parallel()
		eachGuarded(t, func(g *guarded) {
			gone, cancel := context.WithCancel(g.Context())
			cancel()
			for range authentication.LoginTries {
				require.NoError(g, g.wrongPassword("203.0.113.7"))
			}
			require.NoError(g, g.LoginUndone(gone, email, from("203.0.113.7")))
			require.NoError(g, g.wrongPassword("203.0.113.7"))
			require.NoError(g, g.LoginSucceeded(gone, email, from("203.0.113.7")))
			require.NoError(g, g.wrongPassword("203.0.113.7"))
			for range authentication.CodeTries {
				require.NoError(g, g.CodeFailed(gone, email))
			}
			for range authentication.SendsGuessed {
				require.NoError(g, g.send("192.0.2.1", authentication.SendRegistration))
			}
			require.ErrorIs(g, g.send("192.0.2.1", authentication.SendRegistration), errLimited)
			require.NoError(g, g.CodeSucceeded(gone, email))
			require.NoError(g, g.send("192.0.2.1", authentication.SendRegistration))
		})
	})

	t.Run("lets a network that has logged in try, however many strangers guess", func(t *testing.T) {
		t.Parallel()
		eachGuarded(t, func(g *guarded) {
			require.NoError(g, g.LoginSucceeded(g.Context(), email, from("203.0.113.7")))
			for i := range authentication.StrangerTries + authentication.StrangerPerHour {
				_ = g.wrongPassword(netip.AddrFrom4([4]byte{198, 51, byte(i), 1}).String())
			}
			require.ErrorIs(g, g.wrongPassword("192.0.2.1"), errLimited, "another stranger")
			require.NoError(g, g.Login(g.Context(), email, from("203.0.113.9")))
			require.NoError(g, g.LoginSucceeded(g.Context(), email, from("203.0.113.9")))
			require.NoError(g, g.wrongPassword("192.0.2.1"), "until somebody succeeds")
		})
	})

	t.Run("counts clients without an address together, and pauses none of them alone", func(t *testing.T) {
		t.Parallel()
		eachGuarded(t, func(g *guarded) {
			for range authentication.StrangerTries {
				require.NoError(g, g.wrongPassword(""))
			}
			for range authentication.StrangerPerHour { // the hundred were tried in this hour as well
				require.ErrorIs(g, g.wrongPassword(""), errLimited)
			}
			for range authentication.SendsFromAll {
				require.NoError(g, g.send("", authentication.SendRegistration))
			}
			require.ErrorIs(g, g.send("", authentication.SendRegistration), errLimited)
		})
	})

	t.Run("lets an owner in while a stranger has run every limit full", func(t *testing.T) {
		t.Parallel()
		eachGuarded(t, func(g *guarded) {
			for range 100 {
				_ = g.wrongPassword("203.0.113.7")
				_ = g.send("203.0.113.7", authentication.SendRegistration)
				_ = g.send("203.0.113.7", authentication.SendReset)
				require.NoError(g, g.CodeFailed(g.Context(), email))
			}
			require.ErrorIs(g, g.send("203.0.113.7", authentication.SendRegistration), errLimited)
			require.NoError(g, g.send("198.51.100.1", authentication.SendRegistration))
			require.NoError(g, g.CodeSucceeded(g.Context(), email))
			require.NoError(g, g.Login(g.Context(), email, from("198.51.100.1")))
			require.NoError(g, g.send("198.51.100.1", authentication.SendReset))
		})
	})

	t.Run("gives three codes a day to each stranger after a hundred wrong ones, and the owner theirs", func(t *testing.T) {
		t.Parallel()
		eachGuarded(t, func(g *guarded) {
			require.NoError(g, g.LoginSucceeded(g.Context(), email, from("198.51.100.1")))
			for range authentication.CodeTries {
				require.NoError(g, g.CodeFailed(g.Context(), email))
			}
			for range authentication.SendsGuessed {
				require.NoError(g, g.send("203.0.113.7", authentication.SendReset))
				g.clock.now = g.clock.now.Add(20 * time.Minute)
			}
			require.ErrorIs(g, g.send("203.0.113.7", authentication.SendReset), errLimited)
			require.NoError(g, g.send("192.0.2.1", authentication.SendReset), "another network has its own three")
			for range authentication.SendsGuessed + 1 {
				require.NoError(g, g.send("198.51.100.1", authentication.SendReset))
				g.clock.now = g.clock.now.Add(20 * time.Minute)
			}
		})
	})

	t.Run("gives a network that has logged in its codes, whatever strangers have had", func(t *testing.T) {
		t.Parallel()
		eachGuarded(t, func(g *guarded) {
			require.NoError(g, g.LoginSucceeded(g.Context(), email, from("198.51.100.1")))
			for i := range authentication.SendsFromAll {
				stranger := netip.AddrFrom4([4]byte{203, 0, byte(i % 6), 1}).String()
				require.NoError(g, g.send(stranger, authentication.SendRegistration))
				g.clock.now = g.clock.now.Add(10 * time.Minute)
			}
			require.ErrorIs(g, g.send("192.0.2.1", authentication.SendRegistration), errLimited, "another stranger")
			for range authentication.SendsPerDay {
				require.NoError(g, g.send("198.51.100.1", authentication.SendRegistration))
				g.clock.now = g.clock.now.Add(15 * time.Minute)
			}
			require.ErrorIs(g, g.send("198.51.100.1", authentication.SendRegistration), errLimited, "has ten a day")
			known, err := g.Known(g.Context(), email, "192.0.2.0/24", "198.51.100.0/24", "")
			require.NoError(g, err)
			require.Equal(g, []string{"198.51.100.0/24"}, known)
		})
	})

	t.Run("counts codes that set a password apart from those that prove an address", func(t *testing.T) {
		t.Parallel()
		eachGuarded(t, func(g *guarded) {
			for range authentication.SendsPerHour {
				require.NoError(g, g.send("203.0.113.7", authentication.SendRegistration))
			}
			require.ErrorIs(g, g.send("203.0.113.7", authentication.SendRegistration), errLimited)
			require.NoError(g, g.send("203.0.113.7", authentication.SendReset))
			require.ErrorIs(g, g.send("203.0.113.7", authentication.SendReset), authentication.ErrTooSoon)
			require.Equal(g, map[authentication.LimitKind]int{authentication.LimitSend: 2}, g.refused, "by MaySend and by Send")
		})
	})

	t.Run("returns the error of the limits", func(t *testing.T) {
		t.Parallel()
		limits := mock.NewMockLimitRepository(gomock.NewController(t))
		g := usecase.NewGuard(usecase.GuardDeps{Tx: &fakeTx{}, Limits: limits, Clock: &fakeClock{start}, Keys: authentication.CodeKeys{codeKey}})
		limits.EXPECT().Find(gomock.Any(), gomock.Any(), gomock.Any()).Return(nil, errBroken).AnyTimes()
		limits.EXPECT().Lock(gomock.Any(), gomock.Any(), start, gomock.Any()).Return(nil, errBroken).AnyTimes()
		limits.EXPECT().Forget(gomock.Any(), gomock.Any(), gomock.Any()).Return(errBroken).AnyTimes()
		c := client()
		_, known := g.Known(t.Context(), email, c.Network())
		for name, err := range map[string]error{
			"Known":          known,
			"Login":          g.Login(t.Context(), email, c),
			"LoginUndone":    g.LoginUndone(t.Context(), email, c),
			"LoginSucceeded": g.LoginSucceeded(t.Context(), email, c),
			"Send":           g.Send(t.Context(), email, c, authentication.SendResend),
			"CodeFailed":     g.CodeFailed(t.Context(), email),
			"CodeSucceeded":  g.CodeSucceeded(t.Context(), email),
		} {
			require.ErrorIs(t, err, errBroken, name)
		}
	})
}

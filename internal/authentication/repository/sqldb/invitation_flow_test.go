package sqldb_test

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/pkg/database"
)

// tap stores events in the real outbox and remembers them.
type tap struct {
	eventtest.Recorder
	outbox event.Publisher
}

func (p *tap) Publish(ctx context.Context, events ...event.Event) error {
	if err := p.outbox.Publish(ctx, events...); err != nil {
		return err
	}
	return p.Recorder.Publish(ctx, events...)
}

// withdrawer is the real one.
type withdrawer struct {
	db    *database.DB
	clock *clock
}

func (w withdrawer) Withdraw(ctx context.Context, batch string) ([]string, error) {
	return outbox.Withdraw(ctx, w.db, batch, w.clock.Now())
}

// tracker is a Redis that can be away. It counts as the real one does, as far as it matters here.
type tracker struct {
	mu     sync.Mutex
	away   error
	totals map[string]int64
	failed map[string]map[string]bool // by project, then by item
}

func newTracker() *tracker {
	return &tracker{totals: map[string]int64{}, failed: map[string]map[string]bool{}}
}

func (p *tracker) Open(_ context.Context, id, _ string, total int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away == nil && p.failed[id] == nil {
		p.totals[id], p.failed[id] = total, map[string]bool{}
	}
	return p.away
}

func (p *tracker) Mark(_ context.Context, id string, items []authentication.TrackedItem) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(items) == 0 || len(items) > authentication.MaxTrackedItems {
		return fmt.Errorf("%d items", len(items))
	}
	for _, i := range items {
		if before, known := p.failed[id][i.ID]; p.away == nil && p.failed[id] != nil && (!known || before) {
			p.failed[id][i.ID] = i.Failed
		}
	}
	return p.away
}

func (p *tracker) State(_ context.Context, id string) (found, final bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, found = p.failed[id]
	return found, found && int64(len(p.failed[id])) >= p.totals[id], p.away
}

// counts answers done and errors.
func (p *tracker) counts(id string) (done, errors int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, failed := range p.failed[id] {
		if failed {
			errors++
		}
	}
	return len(p.failed[id]), errors
}

// mails is the ledger.
type mails map[string]bool

func (m mails) Outcomes(_ context.Context, ids []string) (map[string]bool, error) {
	known := map[string]bool{}
	for _, id := range ids {
		if sent, ended := m[id]; ended {
			known[id] = sent
		}
	}
	return known, nil
}

// lines is an upload in memory.
type lines []string

func (l lines) Each(found func(line int, address string) error) error {
	for i, address := range l {
		if err := found(i+1, address); err != nil {
			return err
		}
	}
	return nil
}

type rejection struct {
	Line    int    `json:"line"`
	Address string `json:"address"`
	Reason  string `json:"reason"`
}

// batchFlow is bulk invitations on the real repositories and the real outbox.
type batchFlow struct {
	suite
	*usecase.Invitations
	accounts    *usecase.UseCase
	repair      *usecase.Repairer
	closer      *usecase.BatchCloser
	batches     *sqldb.Batches
	invitations *sqldb.Invitations
	clock       *clock
	trials      *trials
	events      *tap
	progress    *tracker
	mails       mails
	admin       authentication.User
	actor       authentication.Actor
}

const perSecond = 20

func eachBatchFlow(t *testing.T, test func(f batchFlow)) {
	t.Helper()
	each(t, func(s suite) {
		c := &clock{now}
		sealer, err := outbox.NewSealer(make([]byte, 32))
		require.NoError(s, err)
		f := batchFlow{
			suite: s, clock: c, trials: &trials{}, progress: newTracker(), mails: mails{},
			events:  &tap{outbox: outbox.NewPublisher(s.db, sealer, c, func() {})},
			batches: sqldb.NewBatches(s.db), invitations: sqldb.NewInvitations(s.db), admin: s.createUser("admin@example.com"),
		}
		f.actor = authentication.Actor{UserID: f.admin.ID, Admin: true}
		key := authentication.CodeKey("key")
		f.Invitations = usecase.NewInvitations(usecase.InvitationDeps{
			Tx: s.db, LongTx: s.db.WithTxTimeout(time.Minute), Users: s.users, Batches: f.batches, Invitations: f.invitations,
			Pace: sqldb.NewPace(s.db), Passwords: plain{}, Tokens: tokens{}, Trials: f.trials, Events: f.events,
			Outbox: withdrawer{s.db, c}, Progress: f.progress, Clock: c, CodeKey: key, PerSecond: perSecond,
		})
		f.accounts = usecase.New(usecase.Deps{
			Tx: s.db, Users: s.users, Codes: s.codes, LegacyCodes: s.legacy, Passwords: plain{}, Tokens: tokens{},
			Trials: f.trials, Events: f.events, Clock: c, CodeKey: key,
		})
		f.repair = usecase.NewRepairer(usecase.RepairDeps{
			Batches: f.batches, Invitations: f.invitations, Mails: f.mails, Progress: f.progress, Clock: c,
		})
		f.closer = usecase.NewBatchCloser(f.batches, s.users, f.events)
		test(f)
	})
}

// try sends an upload and answers what was rejected of it as well.
func (f batchFlow) try(key string, addresses ...string) (authentication.Invited, []rejection, error) {
	f.Helper()
	report, err := os.CreateTemp(f.TempDir(), "report")
	require.NoError(f, err)
	defer func() { require.NoError(f, report.Close()) }()
	digest := sha256.Sum256([]byte(strings.Join(addresses, "\n")))
	invited, err := f.Invite(context.Background(), f.actor, authentication.Upload{
		Addresses: lines(addresses), Digest: digest[:], IdempotencyKey: key, Locale: "vi", Rejected: report,
	})
	if err != nil {
		return invited, nil, err
	}
	_, err = report.Seek(0, io.SeekStart)
	require.NoError(f, err)
	unzipped, err := gzip.NewReader(report)
	require.NoError(f, err)
	rejected := []rejection{}
	require.NoError(f, json.NewDecoder(unzipped).Decode(&rejected))
	return invited, rejected, nil
}

// invite is try of something where nothing is wrong.
func (f batchFlow) invite(addresses ...string) string {
	f.Helper()
	invited, rejected, err := f.try("", addresses...)
	require.NoError(f, err)
	require.Empty(f, rejected)
	require.Equal(f, int64(len(addresses)), invited.Accepted)
	return invited.BatchID
}

// sent answers the events of invitations of a batch, in the order in which they were stored.
func (f batchFlow) sent(batch string) []event.Event {
	var some []event.Event
	for _, e := range f.events.Events() {
		if e.Key == event.EmailInvitationRequested && e.Batch == batch {
			some = append(some, e)
		}
	}
	return some
}

func token(e event.Event) string { return e.Data.(event.InvitationRequested).Token }

// rows counts.
func (f batchFlow) rows(query string, args ...any) (n int) {
	f.Helper()
	require.NoError(f, f.db.Conn(context.Background()).QueryRowContext(context.Background(), "SELECT count(*) FROM "+query, args...).Scan(&n))
	return n
}

func people(n int) []string {
	addresses := make([]string, n)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("person-%05d@example.com", i)
	}
	return addresses
}

func TestInviteAccept(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite("An@Example.com", "binh@example.com")
		require.Equal(f, int64(2), f.progress.totals[batch])
		events := f.sent(batch)
		require.Len(f, events, 2)
		for i, e := range events {
			require.Equal(f, batch, e.ProjectID)
			require.Equal(f, now.Add(time.Duration(i)*time.Second/perSecond), e.NotBefore)
			require.Equal(f, e.NotBefore.Add(7*24*time.Hour), e.Data.(event.InvitationRequested).ExpiresAt)
		}
		data := events[0].Data.(event.InvitationRequested)
		require.Equal(f, "an@example.com", data.Recipient)
		require.Equal(f, "vi", data.Locale)
		invitedUser, err := f.users.ByID(context.Background(), data.UserID)
		require.NoError(f, err)
		require.Equal(f, authentication.User{
			ID: data.UserID, Email: "an@example.com", Role: authentication.RoleUser, CreatedAt: now, UpdatedAt: now,
		}, invitedUser)
		require.Zero(f, f.rows("invitations WHERE event_id LIKE $1", "%"+data.Token+"%"), "the token is nowhere")

		session, err := f.Accept(context.Background(), data.Token, "correct horse")
		require.NoError(f, err)
		require.Equal(f, data.UserID, session.User.ID)
		require.Equal(f, "token", session.Token.Value)
		accepted, err := f.users.ByID(context.Background(), data.UserID)
		require.NoError(f, err)
		require.True(f, accepted.Active)
		require.Equal(f, "correct horse", accepted.PasswordHash)
		require.Equal(f, 1, f.trials.started)
		i, err := f.invitations.ByEvent(context.Background(), events[0].ID)
		require.NoError(f, err)
		require.Equal(f, now, i.AcceptedAt)

		_, err = f.Accept(context.Background(), data.Token, "another horse")
		require.ErrorIs(f, err, authentication.ErrInvitationUsed)
		_, err = f.accounts.Login(context.Background(), authentication.Credentials{Email: "an@example.com", Password: "correct horse"}, false)
		require.NoError(f, err)

		f.clock.now = now.Add(8 * 24 * time.Hour)
		_, err = f.Accept(context.Background(), token(events[1]), "correct horse")
		require.ErrorIs(f, err, authentication.ErrInvitationExpired)
		_, err = f.Accept(context.Background(), authentication.NewInvitationToken(), "correct horse")
		require.ErrorIs(f, err, authentication.ErrInvitationInvalid)
	})
}

func TestAnInvitationIsAcceptedOnceByWhoeverComesFirst(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		secret := token(f.sent(f.invite("an@example.com"))[0])
		outcomes := make(chan error, 8)
		for range cap(outcomes) {
			go func() {
				_, err := f.Accept(context.Background(), secret, "correct horse")
				outcomes <- err
			}()
		}
		succeeded := 0
		for range cap(outcomes) {
			err := <-outcomes
			if err == nil {
				succeeded++
			} else {
				require.ErrorIs(f, err, authentication.ErrInvitationUsed)
			}
		}
		require.Equal(f, 1, succeeded)
		require.Equal(f, 1, f.trials.started)
	})
}

func TestRejectedLinesHinderNobody(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		f.invite("invited@example.com")
		long := strings.Repeat("ấ", 400)
		invited, rejected, err := f.try("", "new@example.com", "no address", "Admin@Example.com", "NEW@example.com",
			"invited@example.com", "", long, "other@example.com")
		require.NoError(f, err)
		require.Equal(f, int64(2), invited.Accepted)
		require.ElementsMatch(f, []rejection{
			{2, "no address", "invalid"}, {3, "admin@example.com", "exists"}, {4, "NEW@example.com", "duplicate"},
			{5, "invited@example.com", "exists"}, {6, "", "invalid"}, {7, strings.Repeat("ấ", 254/3), "invalid"},
		}, rejected)
		require.Len(f, f.sent(invited.BatchID), 2)
		require.Equal(f, int64(2), f.progress.totals[invited.BatchID])
	})
}

func TestNothingAcceptedIsNoProject(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		for _, addresses := range [][]string{{}, {"admin@example.com", "x"}} {
			invited, _, err := f.try("", addresses...)
			require.NoError(f, err)
			require.Zero(f, invited.Accepted)
			require.NotContains(f, f.progress.totals, invited.BatchID)
		}
		require.Empty(f, f.events.Events())
		require.Equal(f, 2, f.rows("invitation_batches WHERE total = 0 AND completed_at IS NOT NULL"))
		f.clock.now = now.Add(time.Hour)
		n, err := f.repair.RepairBatches(context.Background())
		require.NoError(f, err)
		require.Zero(f, n)
	})
}

func TestAFailingUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		f.events.Err = errors.New("the outbox is full")
		_, _, err := f.try("key", people(3)...)
		require.ErrorIs(f, err, f.events.Err)
		for _, table := range []string{"invitation_batches", "invitations", "outbox", "mail_pace", "invitation_reports"} {
			require.Zero(f, f.rows(table), table)
		}
		require.Equal(f, 1, f.rows("users"), "the administrator")
		f.events.Err = nil
		_, _, err = f.try("key", people(3)...)
		require.NoError(f, err, "the key is free")
	})
}

func TestTheSameKeyIsAnsweredTheSame(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		addresses := append(people(700), "x", "person-00001@example.com")
		first, rejected, err := f.try("key", addresses...)
		require.NoError(f, err)
		require.Len(f, rejected, 2)
		f.progress.failed, f.progress.totals = map[string]map[string]bool{}, map[string]int64{}
		again, rejectedAgain, err := f.try("key", addresses...)
		require.NoError(f, err)
		require.Equal(f, first, again)
		require.Equal(f, rejected, rejectedAgain)
		require.Len(f, f.sent(first.BatchID), 700)
		require.Equal(f, int64(700), f.progress.totals[first.BatchID], "and the project is there if it was not")

		_, _, err = f.try("key", "somebody@example.com")
		require.ErrorIs(f, err, authentication.ErrKeyReused)
		other, _, err := f.try("another key", addresses...)
		require.NoError(f, err)
		require.Zero(f, other.Accepted, "without the key they are all there already")
		f.actor.UserID = f.createUser("second@example.com").ID
		_, _, err = f.try("key", "somebody@example.com")
		require.NoError(f, err, "another administrator's key is another key")
	})
}

// A large report is stored in parts; a gzipped list of random addresses does not get small.
func TestALargeReportIsKeptWhole(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		addresses := make([]string, 6_000)
		for i := range addresses {
			sum := sha256.Sum256(fmt.Append(nil, i))
			addresses[i] = fmt.Sprintf("%x%x", sum, sha256.Sum256(sum[:]))
		}
		_, rejected, err := f.try("key", addresses...)
		require.NoError(f, err)
		require.Len(f, rejected, len(addresses))
		require.Greater(f, f.rows("invitation_reports"), 1)
		_, again, err := f.try("key", addresses...)
		require.NoError(f, err)
		require.Equal(f, rejected, again)
	})
}

func TestTheSameKeyAtTheSameTime(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		addresses := people(600)
		ids := make(chan string, 4)
		for range cap(ids) {
			one := f
			one.Invitations = usecase.NewInvitations(f.InvitationDeps) // another process
			go func() {
				invited, _, err := one.try("key", addresses...)
				if err != nil {
					ids <- err.Error()
					return
				}
				ids <- invited.BatchID
			}()
		}
		first := <-ids
		for range cap(ids) - 1 {
			require.Equal(f, first, <-ids)
		}
		require.Equal(f, 600, f.rows("invitations"))
		require.Equal(f, 600, f.rows("outbox"))
	})
}

// Two processes get the same people in opposite orders: without the pace's lock they would wait for each other.
func TestUploadsThatShareAddressesDoNotDeadlock(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		f.invite("somebody@example.com") // the pace is there from the first batch on
		there := people(2_000)
		back := make([]string, len(there))
		for i, address := range there {
			back[len(back)-1-i] = address
		}
		accepted := make(chan int64, 2)
		for _, addresses := range [][]string{there, back} {
			one := f
			one.Invitations = usecase.NewInvitations(f.InvitationDeps)
			go func() {
				invited, _, err := one.try("", addresses...)
				if err != nil {
					invited.Accepted = -1
				}
				accepted <- invited.Accepted
			}()
		}
		require.ElementsMatch(f, []int64{0, 2_000}, []int64{<-accepted, <-accepted})
		require.Equal(f, 2_001, f.rows("invitations"))
	})
}

func TestBatchesShareOnePace(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		first, second := f.invite("a@example.com", "b@example.com", "c@example.com"), f.invite("d@example.com")
		const gap = time.Second / perSecond
		require.Equal(f, now.Add(3*gap), f.sent(second)[0].NotBefore, "behind %s", first)
		f.clock.now = now.Add(time.Minute)
		third := f.invite("e@example.com")
		require.Equal(f, f.clock.now, f.sent(third)[0].NotBefore, "nothing is left to wait for")
		require.Equal(f, 1, f.rows("outbox WHERE available_at = $1 AND batch_id = $2", f.clock.now, third))
	})
}

func TestOnlyAdministratorsInvite(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite("an@example.com")
		demoted := f.createUser("demoted@example.com")
		demoted.Role = authentication.RoleUser
		require.NoError(f, f.users.Update(context.Background(), demoted))
		gone := f.createUser("gone@example.com")
		f.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", gone.ID, now)
		for _, tc := range []struct {
			actor authentication.Actor
			want  error
		}{
			{authentication.Actor{UserID: f.admin.ID}, authentication.ErrForbidden},
			{authentication.Actor{UserID: demoted.ID, Admin: true}, authentication.ErrForbidden},
			{authentication.Actor{UserID: gone.ID, Admin: true}, authentication.ErrUnauthenticated},
			{authentication.Actor{UserID: "x", Admin: true}, authentication.ErrUnauthenticated},
		} {
			f.actor = tc.actor
			_, _, err := f.try("", "new@example.com")
			require.ErrorIs(f, err, tc.want)
			_, err = f.Cancel(context.Background(), f.actor, batch)
			require.ErrorIs(f, err, tc.want)
		}
		require.Equal(f, 1, f.rows("invitation_batches"))
	})
}

func TestTooManyAddresses(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		_, _, err := f.try("", make([]string, authentication.MaxInvitations+1)...)
		require.ErrorIs(f, err, authentication.ErrUpload)
		require.Zero(f, f.rows("invitation_batches"))
		if f.db.Dialect() == database.SQLite {
			_, rejected, err := f.try("", make([]string, authentication.MaxInvitations)...)
			require.NoError(f, err)
			require.Len(f, rejected, authentication.MaxInvitations)
		}
	})
}

func TestSomebodyWhoWasInvitedCanRegister(t *testing.T) {
	t.Parallel()
	eachBatchFlow(t, func(f batchFlow) {
		batch := f.invite("an@example.com", "binh@example.com")
		an, binh := token(f.sent(batch)[0]), token(f.sent(batch)[1])
		c := authentication.Credentials{Email: "An@Example.com", Password: "correct horse"}
		require.ErrorIs(f, f.accounts.SendCode(context.Background(), c, "en"), authentication.ErrWrongPassword)
		require.NoError(f, f.accounts.Register(context.Background(), c, "en"))
		require.ErrorIs(f, f.accounts.Register(context.Background(), c, "en"), authentication.ErrEmailTaken, "a second time")
		all := f.events.Events()
		code := all[len(all)-1].Data.(event.VerificationRequested)
		require.Equal(f, "an@example.com", code.Recipient)
		session, err := f.accounts.Verify(context.Background(), "an@example.com", code.OTPCode)
		require.NoError(f, err)
		require.Equal(f, 1, f.trials.started)
		_, err = f.Accept(context.Background(), an, "another horse")
		require.ErrorIs(f, err, authentication.ErrInvitationUsed, "his password is his")
		user, err := f.users.ByID(context.Background(), session.User.ID)
		require.NoError(f, err)
		require.Equal(f, "correct horse", user.PasswordHash)

		// Whoever registers somebody else's address cannot verify it; the owner's invitation overrules him.
		squatter := authentication.Credentials{Email: "binh@example.com", Password: "not binh's"}
		require.NoError(f, f.accounts.Register(context.Background(), squatter, "en"))
		_, err = f.Accept(context.Background(), binh, "binh's own")
		require.NoError(f, err)
		_, err = f.accounts.Login(context.Background(), squatter, false)
		require.ErrorIs(f, err, authentication.ErrWrongPassword)
	})
}

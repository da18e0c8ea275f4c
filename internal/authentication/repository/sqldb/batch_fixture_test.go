package sqldb_test

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
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
		p.failed[id] = map[string]bool{}
	}
	if p.away == nil && p.totals[id] == 0 {
		p.totals[id] = total
	}
	return p.away
}

func (p *tracker) Begin(ctx context.Context, id, owner string) error {
	return p.Open(ctx, id, owner, 0)
}

func (p *tracker) Forget(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away == nil {
		delete(p.failed, id)
		delete(p.totals, id)
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
	found = p.totals[id] > 0
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
			Tx: s.db, Users: s.users, Codes: s.codes, Passwords: plain{}, Tokens: tokens{},
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

package operations_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/operations/mock"
)

const queue = "identity.email"

// broker has dead letters in memory, which one look at a time sees.
type broker struct {
	pace time.Duration // what a look takes for each letter

	mu      sync.Mutex
	letters []event.DeadLetter
	looks   int
	held    bool             // by another process
	down    error            // of every look
	stays   map[string]error // what goes wrong with letters, by id
	works   []operations.Work
}

func (b *broker) hold(held bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = held
}

func (b *broker) look() ([]event.DeadLetter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held {
		return nil, operations.ErrBusy
	}
	b.looks++
	return slices.Clone(b.letters), b.down
}

func (b *broker) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *broker) Depths(context.Context) (map[string]int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return map[string]int{queue: len(b.letters)}, nil
}

func (b *broker) List(ctx context.Context, _ string, each func(event.DeadLetter) error) error {
	letters, err := b.look()
	for _, l := range letters {
		if err := cmp.Or(b.wait(ctx, b.pace), each(l)); err != nil {
			return err
		}
	}
	return err
}

func (b *broker) Show(ctx context.Context, _ string, s operations.Selection, each func(operations.Detail) error) error {
	letters, err := b.look()
	for _, l := range letters {
		if err := b.wait(ctx, b.pace); err != nil {
			return err
		}
		if s.Matches(l, time.Now()) {
			if err := each(operations.Detail{DeadLetter: l, BodyDigest: "digest of " + l.EventID}); err != nil {
				return err
			}
		}
	}
	return err
}

func (b *broker) Handle(ctx context.Context, w operations.Work, r operations.Reports) error {
	letters, err := b.look()
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.works = append(b.works, w)
	b.mu.Unlock()
	for _, l := range letters {
		r.Seen()
		if !w.Matches(l, time.Now()) {
			continue
		}
		if err := b.wait(ctx, time.Second/time.Duration(w.PerSecond)); err != nil {
			return err
		}
		if problem := b.stays[l.EventID]; problem != nil {
			if err := r.Failed(l, problem); err != nil {
				return err
			}
			continue
		}
		b.mu.Lock()
		b.letters = slices.DeleteFunc(b.letters, func(other event.DeadLetter) bool { return other == l })
		b.mu.Unlock()
		action := map[operations.Action]string{operations.Replay: operations.Replayed, operations.Discard: operations.Discarded}[w.Action]
		if err := r.Handled(operations.Outcome{DeadLetter: l, Action: action}); err != nil {
			return err
		}
	}
	return nil
}

func (b *broker) ids() (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.letters {
		ids = append(ids, l.EventID)
	}
	return ids
}

// bury adds n letters; every third is of another reason and key.
func (b *broker) bury(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range n {
		i := len(b.letters)
		l := event.DeadLetter{
			Queue: queue, EventID: fmt.Sprintf("evt_%06d", i), RoutingKey: "email.verification.requested", Reason: "rejected",
			ErrorClass: "smtp_rcpt_550", Attempts: i % 5, DeadSince: time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano), BodyBytes: 400,
		}
		if i%3 == 2 {
			l.RoutingKey, l.Reason, l.DeadSince = "email.nonsense", "unknown_key", ""
		}
		b.letters = append(b.letters, l)
	}
}

type clock struct{}

func (clock) Now() time.Time { return time.Now() }

// records keeps what is recorded.
type records struct {
	mu    sync.Mutex
	lines []string
	err   error
}

func (r *records) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

func (r *records) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *records) Record(_ context.Context, operator string, action audit.Action, subject, reason string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprint(operator, " ", action, " ", subject, " ", reason))
	return r.err
}

// desk runs in a bubble, with a broker of n letters.
type desk struct {
	*operations.Desk
	broker     *broker
	records    *records
	unrecorded []error
	stop       context.CancelFunc
}

func inBubble(t *testing.T, n int, test func(*testing.T, *desk)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{broker: &broker{stays: map[string]error{}}, records: &records{}}
		d.broker.bury(n)
		d.Desk = operations.NewDesk(operations.DeskDeps{
			Queues: []string{queue, "identity.project"}, Letters: d.broker, Records: d.records, Clock: clock{},
			Unrecorded: func(_ operations.Job, err error) { d.unrecorded = append(d.unrecorded, err) },
		})
		ctx, stop := context.WithCancel(t.Context())
		d.stop = stop
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		defer func() {
			stop()
			require.NoError(t, <-ended)
		}()
		test(t, d)
	})
}

func (d *desk) list(t *testing.T, q operations.Query) operations.Page {
	t.Helper()
	q.Limit = cmp.Or(q.Limit, 50)
	p, err := d.List(t.Context(), queue, q)
	require.NoError(t, err)
	return p
}

// whole returns the first page of a list that has been read to its end.
func (d *desk) whole(t *testing.T, queue string) operations.Page {
	t.Helper()
	_, err := d.List(t.Context(), queue, operations.Query{Limit: 50}) // which may be back before the end
	require.NoError(t, err)
	synctest.Wait()
	p, err := d.List(t.Context(), queue, operations.Query{Limit: 50})
	require.NoError(t, err)
	return p
}

// ended waits until a job has ended.
func (d *desk) ended(t *testing.T, id string) operations.Job {
	t.Helper()
	for {
		j, err := d.Job(id)
		require.NoError(t, err)
		if j.State.Ended() {
			return j
		}
		<-time.After(100 * time.Millisecond)
	}
}

func (d *desk) counted(t *testing.T, a operations.Action, s operations.Selection) operations.Job {
	t.Helper()
	j, err := d.Count(queue, a, s)
	require.NoError(t, err)
	for j.State == operations.Counting {
		<-time.After(100 * time.Millisecond)
		j, err = d.Job(j.ID)
		require.NoError(t, err)
	}
	return j
}

func idsOf(p operations.Page) (ids []string) {
	for _, r := range p.Rows {
		ids = append(ids, r.EventID)
	}
	return ids
}

func TestList(t *testing.T) {
	t.Parallel()
	t.Run("pages are of one look, in the order of the queue", func(t *testing.T) {
		inBubble(t, 120, func(t *testing.T, d *desk) {
			var all []string
			for q, first := (operations.Query{}), 1; ; {
				p := d.list(t, q)
				require.Equal(t, first, p.First)
				require.Equal(t, 120, p.Matching)
				all = append(all, idsOf(p)...)
				if q.After = p.Next; q.After == "" {
					break
				}
				first += 50
			}
			require.Equal(t, d.broker.ids(), all)
			require.Equal(t, 1, d.broker.looks)
		})
	})
	t.Run("filters have figures of the whole list", func(t *testing.T) {
		inBubble(t, 90, func(t *testing.T, d *desk) {
			p := d.list(t, operations.Query{Selection: operations.Selection{Reason: "unknown_key"}, Limit: 20})
			require.Equal(t, 30, p.Matching)
			require.Len(t, p.Rows, 20)
			require.Equal(t, []operations.Choice{{Value: "rejected", Count: 60}, {Value: "unknown_key", Count: 30}}, p.Reasons)
			require.Equal(t, []operations.Choice{{Value: "email.verification.requested", Count: 60}, {Value: "email.nonsense", Count: 30}}, p.Keys)
			require.True(t, p.Rows[0].DeadSince.IsZero(), "unknown")
			p = d.list(t, operations.Query{Selection: operations.Selection{Reason: "unknown_key"}, After: p.Next})
			require.Equal(t, 21, p.First)
			require.Len(t, p.Rows, 10)
			require.Empty(t, p.Next)
			for hours, want := range map[time.Duration]int{30 * time.Minute: 60, 2 * time.Hour: 0} {
				require.Equal(t, want, d.list(t, operations.Query{Selection: operations.Selection{OlderThan: hours}}).Matching)
				require.Equal(t, 60-want, d.list(t, operations.Query{Selection: operations.Selection{NewerThan: hours}}).Matching)
			}
			require.Zero(t, d.list(t, operations.Query{Selection: operations.Selection{Key: "email"}}).Matching)
		})
	})
	t.Run("the first page waits for itself only, and a page that matches little not for long", func(t *testing.T) {
		inBubble(t, 20_000, func(t *testing.T, d *desk) {
			d.broker.pace = 250 * time.Microsecond
			began := time.Now()
			p := d.list(t, operations.Query{})
			require.Len(t, p.Rows, 50)
			require.True(t, p.Reading)
			require.Equal(t, 20_000, p.Total)
			require.Less(t, time.Since(began), 100*time.Millisecond)
			rare := operations.Query{Selection: operations.Selection{Reason: "none"}}
			p = d.list(t, rare)
			require.Less(t, time.Since(began), time.Second)
			require.True(t, p.Reading)
			require.Greater(t, p.Seen, 1000)
			<-time.After(10 * time.Second)
			p = d.list(t, rare)
			require.False(t, p.Reading)
			require.Equal(t, 20_000, p.Seen)
			require.Equal(t, 20_000, p.Listed)
		})
	})
	t.Run("a place in a list is found again in the next", func(t *testing.T) {
		inBubble(t, 120, func(t *testing.T, d *desk) {
			p := d.list(t, operations.Query{})
			require.NoError(t, d.Read(queue))
			d.broker.mu.Lock()
			d.broker.letters = d.broker.letters[10:]
			d.broker.mu.Unlock()
			synctest.Wait()
			p = d.list(t, operations.Query{After: p.Next})
			require.Equal(t, "evt_000050", p.Rows[0].EventID)
			require.Equal(t, 41, p.First)
			require.False(t, p.Forgotten)
			for _, gone := range []string{"7-0000000000000000", "-3-x", "x", "999999999999999999999999-x", "0"} {
				p = d.list(t, operations.Query{After: gone})
				require.True(t, p.Forgotten, gone)
				require.Equal(t, 1, p.First)
			}
		})
	})
	t.Run("what another process looks at is said, and what was read stays", func(t *testing.T) {
		inBubble(t, 3, func(t *testing.T, d *desk) {
			d.broker.hold(true)
			p := d.list(t, operations.Query{})
			require.ErrorIs(t, p.Err, operations.ErrBusy)
			require.True(t, p.ReadAt.IsZero())
			d.broker.hold(false)
			p = d.list(t, operations.Query{})
			require.NoError(t, p.Err)
			require.Len(t, p.Rows, 3)
			d.broker.hold(true)
			require.NoError(t, d.Read(queue))
			synctest.Wait()
			p = d.list(t, operations.Query{})
			require.ErrorIs(t, p.Err, operations.ErrBusy)
			require.Len(t, p.Rows, 3)
		})
	})
	t.Run("memory is bounded", func(t *testing.T) {
		inBubble(t, 0, func(t *testing.T, d *desk) {
			d.Budget = 200 * (96 + len("evt_000000"))
			d.broker.bury(150)
			require.Equal(t, 150, d.whole(t, queue).Listed)
			other := d.whole(t, "identity.project")
			require.Equal(t, 150, other.Listed, "the list nobody has looked at for longest makes room")
			d.broker.bury(150)
			p := d.whole(t, queue)
			require.Equal(t, 200, p.Listed)
			require.True(t, p.Full)
			require.Equal(t, 300, p.Seen)
			require.Equal(t, 300, d.counted(t, operations.Replay, operations.Selection{All: true}).Counted, "counts see all")
		})
	})
	t.Run("a list nobody looks at is forgotten", func(t *testing.T) {
		inBubble(t, 3, func(t *testing.T, d *desk) {
			d.list(t, operations.Query{})
			<-time.After(8 * time.Minute)
			d.list(t, operations.Query{})
			require.Equal(t, 1, d.broker.looks)
			<-time.After(12 * time.Minute)
			d.list(t, operations.Query{})
			require.Equal(t, 2, d.broker.looks)
		})
	})
	t.Run("strangers' words are bounded", func(t *testing.T) {
		inBubble(t, 0, func(t *testing.T, d *desk) {
			long := string(make([]byte, 100_000))
			d.broker.letters = []event.DeadLetter{{EventID: "a", Reason: long, RoutingKey: long, ErrorClass: long, DeadSince: long, FirstFailed: long}}
			r := d.list(t, operations.Query{}).Rows[0]
			require.Less(t, len(r.Reason)+len(r.RoutingKey)+len(r.ErrorClass), 700)
			require.True(t, r.DeadSince.IsZero())
		})
	})
	t.Run("only queues of this service", func(t *testing.T) {
		inBubble(t, 0, func(t *testing.T, d *desk) {
			_, err := d.List(t.Context(), "analytics", operations.Query{})
			require.ErrorIs(t, err, operations.ErrNoSuchQueue)
			_, err = d.Count("analytics", operations.Replay, operations.Selection{All: true})
			require.ErrorIs(t, err, operations.ErrNoSuchQueue)
			require.ErrorIs(t, d.Read("analytics"), operations.ErrNoSuchQueue)
		})
	})
}

func TestShow(t *testing.T) {
	t.Parallel()
	t.Run("details come from one look, and are kept for a minute", func(t *testing.T) {
		inBubble(t, 60, func(t *testing.T, d *desk) {
			mark := d.list(t, operations.Query{}).Rows[7].Mark
			for range 3 {
				s, err := d.Show(t.Context(), queue, mark)
				require.NoError(t, err)
				require.False(t, s.Reading)
				require.Equal(t, "evt_000007", s.EventID)
				require.Equal(t, "digest of evt_000007", s.Details[0].BodyDigest)
			}
			require.Equal(t, 2, d.broker.looks)
			<-time.After(2 * time.Minute)
			_, err := d.Show(t.Context(), queue, mark)
			require.NoError(t, err)
			require.Equal(t, 3, d.broker.looks)
		})
	})
	t.Run("what the list knows is there at once", func(t *testing.T) {
		inBubble(t, 100, func(t *testing.T, d *desk) {
			mark := d.list(t, operations.Query{}).Rows[7].Mark
			d.broker.pace = time.Second
			s, err := d.Show(t.Context(), queue, mark)
			require.NoError(t, err)
			require.True(t, s.Reading)
			require.Equal(t, "evt_000007", s.EventID)
			require.Empty(t, s.Details)
			<-time.After(2 * time.Minute)
		})
	})
	t.Run("a busy queue is said once, and asked again", func(t *testing.T) {
		inBubble(t, 10, func(t *testing.T, d *desk) {
			mark := d.list(t, operations.Query{}).Rows[7].Mark
			d.broker.hold(true)
			s, err := d.Show(t.Context(), queue, mark)
			require.NoError(t, err)
			require.ErrorIs(t, s.Err, operations.ErrBusy)
			d.broker.hold(false)
			_, _ = d.Show(t.Context(), queue, mark)
			s, err = d.Show(t.Context(), queue, mark)
			require.NoError(t, err)
			require.NoError(t, s.Err)
			require.Len(t, s.Details, 1)
		})
	})
	t.Run("one that is gone", func(t *testing.T) {
		inBubble(t, 10, func(t *testing.T, d *desk) {
			_, err := d.Show(t.Context(), queue, "0011223344556677")
			require.ErrorIs(t, err, operations.ErrNoSuchLetter)
		})
	})
}

func TestJobs(t *testing.T) {
	t.Parallel()
	order := operations.Order{By: " an ", Why: "outage is over", PerSecond: 100}
	t.Run("all that match are counted, handled and recorded", func(t *testing.T) {
		inBubble(t, 300, func(t *testing.T, d *desk) {
			j := d.counted(t, operations.Replay, operations.Selection{Reason: "rejected"})
			require.Equal(t, operations.Counted, j.State)
			require.Equal(t, 200, j.Counted)
			require.Len(t, d.broker.ids(), 300)
			require.Empty(t, d.records.all())
			began := time.Now()
			_, err := d.Begin(t.Context(), j.ID, order)
			require.NoError(t, err)
			require.Len(t, d.records.all(), 1, "before anything is done")
			<-time.After(time.Second)
			half, err := d.Job(j.ID)
			require.NoError(t, err)
			require.Equal(t, operations.Running, half.State)
			require.InDelta(t, 100, half.Handled(), 2)
			require.Equal(t, 200, half.Handled()+half.Remaining())
			j = d.ended(t, j.ID)
			require.Equal(t, operations.Done, j.State)
			require.Equal(t, map[string]int{operations.Replayed: 200}, j.Gone)
			require.Zero(t, j.Remaining())
			require.GreaterOrEqual(t, time.Since(began), 2*time.Second, "the rate is kept")
			require.Len(t, d.broker.ids(), 100)
			at := j.CountedAt.UTC().Format(time.TimeOnly)
			require.Equal(t, []string{
				"an deadletters.replayed identity.email outage is over [console job 1 begins: --dead-reason rejected (200 counted at " + at + ") --rate 100]",
				"an deadletters.replayed identity.email [console job 1 done: 200 of 200 handled, 200 replayed, 0 failed]",
			}, d.records.all())
			require.Equal(t, 100, d.list(t, operations.Query{}).Listed, "the list is read anew")
		})
	})
	t.Run("those that die while it works have no turn", func(t *testing.T) {
		inBubble(t, 60, func(t *testing.T, d *desk) {
			j := d.counted(t, operations.Replay, operations.Selection{All: true})
			<-time.After(time.Second)
			d.broker.mu.Lock()
			d.broker.letters = append(d.broker.letters, event.DeadLetter{EventID: "late", DeadSince: time.Now().Format(time.RFC3339Nano)})
			d.broker.mu.Unlock()
			_, err := d.Begin(t.Context(), j.ID, order)
			require.NoError(t, err)
			require.Equal(t, 60, d.ended(t, j.ID).Handled())
			require.Equal(t, []string{"late"}, d.broker.ids())
		})
	})
	t.Run("no more are handled than were counted, whatever is known of their times", func(t *testing.T) {
		inBubble(t, 6, func(t *testing.T, d *desk) {
			j := d.counted(t, operations.Replay, operations.Selection{Reason: "unknown_key"})
			d.broker.bury(3)
			_, err := d.Begin(t.Context(), j.ID, order)
			require.NoError(t, err)
			require.Equal(t, 2, d.ended(t, j.ID).Handled())
			require.Len(t, d.broker.ids(), 7)
		})
	})
	t.Run("a long job looks more than once, so that the broker takes nothing back from it", func(t *testing.T) {
		inBubble(t, 900, func(t *testing.T, d *desk) {
			j := d.counted(t, operations.Replay, operations.Selection{All: true})
			d.broker.stays["evt_000001"] = errors.New("too large")
			_, err := d.Begin(t.Context(), j.ID, operations.Order{By: "an", PerSecond: 1})
			require.NoError(t, err)
			<-time.After(301500 * time.Millisecond)
			d.broker.hold(true)
			<-time.After(20 * time.Second) // another process got in between
			d.broker.hold(false)
			j = d.ended(t, j.ID)
			require.Equal(t, operations.Done, j.State, j.Error)
			require.Equal(t, 899, j.Handled())
			require.Equal(t, 1, j.Failures)
			require.Equal(t, "too large", j.LastError)
			require.Greater(t, len(d.broker.works), 2)
		})
	})
	t.Run("it can be stopped, and what it has not handled stays", func(t *testing.T) {
		inBubble(t, 300, func(t *testing.T, d *desk) {
			j := d.counted(t, operations.Discard, operations.Selection{All: true})
			_, err := d.Begin(t.Context(), j.ID, order)
			require.NoError(t, err)
			<-time.After(time.Second)
			_, err = d.Stop(j.ID, "binh")
			require.NoError(t, err)
			j = d.ended(t, j.ID)
			require.Equal(t, operations.Stopped, j.State)
			require.Equal(t, 300-j.Handled(), len(d.broker.ids()))
			require.NotZero(t, j.Remaining())
			require.Contains(t, d.records.all()[1], "job 1 stopped: ")
			require.Contains(t, d.records.all()[1], "; stopped by binh]")
		})
	})
	t.Run("it ends with its process", func(t *testing.T) {
		inBubble(t, 300, func(t *testing.T, d *desk) {
			j := d.counted(t, operations.Replay, operations.Selection{All: true})
			_, err := d.Begin(t.Context(), j.ID, order)
			require.NoError(t, err)
			<-time.After(time.Second)
			d.stop()
			j = d.ended(t, j.ID)
			require.Equal(t, operations.Stopped, j.State)
			require.Contains(t, d.records.all()[1], "this process has ended")
			require.Empty(t, d.unrecorded)
		})
	})
	t.Run("one at a time works on a queue", func(t *testing.T) {
		inBubble(t, 300, func(t *testing.T, d *desk) {
			first := d.counted(t, operations.Replay, operations.Selection{All: true})
			second := d.counted(t, operations.Replay, operations.Selection{All: true})
			_, err := d.Begin(t.Context(), first.ID, order)
			require.ErrorIs(t, err, operations.ErrNoSuchJob, "a newer count takes its place")
			_, err = d.Begin(t.Context(), second.ID, order)
			require.NoError(t, err)
			_, err = d.Begin(t.Context(), second.ID, order)
			require.ErrorIs(t, err, operations.ErrNotCounted)
			_, err = d.Count(queue, operations.Discard, operations.Selection{All: true})
			require.ErrorContains(t, err, "job 2 works on this queue")
			_, err = d.HandleNamed(t.Context(), queue, operations.Replay, []string{"evt_000001"}, order)
			require.ErrorContains(t, err, "job 2 works")
			require.ErrorContains(t, d.Read(queue), "job 2 works")
			require.Equal(t, "2", d.list(t, operations.Query{}).Job.ID)
			other, err := d.Count("identity.project", operations.Replay, operations.Selection{All: true})
			require.NoError(t, err, "another queue is free")
			lines, _, err := d.Overview(t.Context())
			require.NoError(t, err)
			require.Equal(t, "2", lines[0].Job.ID)
			require.NotEqual(t, "2", other.ID)
			d.ended(t, second.ID)
		})
	})
	t.Run("another process at the queue is an end", func(t *testing.T) {
		inBubble(t, 3, func(t *testing.T, d *desk) {
			d.broker.hold(true)
			j := d.counted(t, operations.Replay, operations.Selection{All: true})
			require.Equal(t, operations.Failed, j.State)
			require.Equal(t, operations.ErrBusy.Error(), j.Error)
			j, err := d.HandleNamed(t.Context(), queue, operations.Replay, []string{"evt_000001"}, order)
			require.NoError(t, err)
			require.Equal(t, operations.Failed, d.ended(t, j.ID).State)
			require.Len(t, d.records.all(), 2)
		})
	})
	t.Run("letters are named", func(t *testing.T) {
		inBubble(t, 10, func(t *testing.T, d *desk) {
			ids := []string{"evt_000004", "evt_000001", "evt_000004"}
			j, err := d.HandleNamed(t.Context(), queue, operations.Discard, ids, order)
			require.NoError(t, err)
			require.Equal(t, 2, j.Counted)
			j = d.ended(t, j.ID)
			require.Equal(t, map[string]int{operations.Discarded: 2}, j.Gone)
			require.Len(t, d.broker.ids(), 8)
			require.Contains(t, d.records.all()[0], "outage is over [console job 1 begins: --id evt_000001 --id evt_000004 --rate 100]")
		})
	})
	t.Run("a row of failures ends it", func(t *testing.T) {
		inBubble(t, 100, func(t *testing.T, d *desk) {
			for _, id := range d.broker.ids()[10:] {
				d.broker.stays[id] = errors.New("the mail ledger cannot be used")
			}
			j := d.counted(t, operations.Replay, operations.Selection{All: true})
			_, err := d.Begin(t.Context(), j.ID, order)
			require.NoError(t, err)
			j = d.ended(t, j.ID)
			require.Equal(t, operations.Failed, j.State)
			require.Equal(t, 10, j.Handled())
			require.Equal(t, 20, j.Failures)
			require.Equal(t, 70, j.Remaining())
			require.Contains(t, j.Error, "20 letters in a row")
		})
	})
	t.Run("a broker that goes away ends it", func(t *testing.T) {
		inBubble(t, 100, func(t *testing.T, d *desk) {
			j := d.counted(t, operations.Replay, operations.Selection{All: true})
			d.broker.down = errors.New("connection refused")
			_, err := d.Begin(t.Context(), j.ID, order)
			require.NoError(t, err)
			j = d.ended(t, j.ID)
			require.Equal(t, operations.Failed, j.State)
			require.Equal(t, "connection refused", j.Error)
		})
	})
	t.Run("what cannot be recorded is not done", func(t *testing.T) {
		inBubble(t, 10, func(t *testing.T, d *desk) {
			j := d.counted(t, operations.Replay, operations.Selection{All: true})
			d.records.fail(errors.New("the database is read-only"))
			_, err := d.Begin(t.Context(), j.ID, order)
			require.ErrorContains(t, err, "read-only")
			_, err = d.HandleNamed(t.Context(), queue, operations.Replay, d.broker.ids()[:1], order)
			require.ErrorContains(t, err, "read-only")
			require.Empty(t, d.broker.works)
			d.records.fail(nil)
			j = d.counted(t, operations.Replay, operations.Selection{All: true})
			_, err = d.Begin(t.Context(), j.ID, order)
			require.NoError(t, err)
			d.records.fail(errors.New("the database is read-only"))
			require.Equal(t, operations.Done, d.ended(t, j.ID).State)
			synctest.Wait()
			require.Len(t, d.unrecorded, 1)
		})
	})
	t.Run("careless use is refused", func(t *testing.T) {
		inBubble(t, 10, func(t *testing.T, d *desk) {
			many := make([]string, operations.MaxChosen+1)
			for i := range many {
				many[i] = fmt.Sprint(i)
			}
			for _, test := range []struct {
				action operations.Action
				ids    []string
				order  operations.Order
				want   string
			}{
				{operations.Replay, []string{"a"}, operations.Order{By: "  "}, "who you are"},
				{operations.Discard, []string{"a"}, operations.Order{By: "an", Why: " "}, "say why"},
				{operations.Replay, []string{"a"}, operations.Order{By: "an", PerSecond: -1}, "rate"},
				{operations.Replay, []string{"a"}, operations.Order{By: "an", PerSecond: operations.MaxRate + 1}, "rate"},
				{operations.Replay, nil, order, "choose"},
				{operations.Replay, []string{""}, order, "choose"},
				{operations.Replay, many, order, "200"},
				{"purge", []string{"a"}, order, "replayed or discarded"},
			} {
				_, err := d.HandleNamed(t.Context(), queue, test.action, test.ids, test.order)
				require.ErrorContains(t, err, test.want)
			}
			_, err := d.Count(queue, operations.Replay, operations.Selection{})
			require.ErrorIs(t, err, operations.ErrNothingSelected)
			_, err = d.Job("7")
			require.ErrorIs(t, err, operations.ErrNoSuchJob)
			_, err = d.Stop("7", "binh")
			require.ErrorIs(t, err, operations.ErrNoSuchJob)
			require.Empty(t, d.records.all())
			require.Empty(t, d.Jobs())
		})
	})
	t.Run("a count is good for a quarter of an hour, an end is kept for a day", func(t *testing.T) {
		inBubble(t, 10, func(t *testing.T, d *desk) {
			old := d.counted(t, operations.Replay, operations.Selection{All: true})
			<-time.After(14 * time.Minute)
			_, err := d.Job(old.ID)
			require.NoError(t, err)
			<-time.After(3 * time.Minute)
			_, err = d.Begin(t.Context(), old.ID, order)
			require.Error(t, err)
			j, err := d.HandleNamed(t.Context(), queue, operations.Replay, []string{"evt_000001"}, order)
			require.NoError(t, err)
			d.ended(t, j.ID)
			<-time.After(23 * time.Hour)
			require.Len(t, d.Jobs(), 1)
			<-time.After(2 * time.Hour)
			require.Empty(t, d.Jobs())
		})
	})
}

// TestPorts shows what the desk asks of its ports, and in which order.
func TestPorts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		control := gomock.NewController(t)
		letters, record := mock.NewMockDeadLetters(control), mock.NewMockRecords(control)
		d := operations.NewDesk(operations.DeskDeps{Queues: []string{queue}, Letters: letters, Records: record, Clock: clock{}})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		gomock.InOrder(
			record.EXPECT().Record(gomock.Any(), "an", audit.DeadLettersDiscarded, queue, gomock.Any()),
			letters.EXPECT().Handle(gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(
				func(_ context.Context, w operations.Work, _ operations.Reports) error {
					require.Equal(t, operations.Work{
						Queue: queue, Action: operations.Discard, PerSecond: operations.DefaultRate, By: "an", Why: "tests",
						Selection: operations.Selection{IDs: []string{"evt_1"}, At: time.Now()},
					}, w)
					return errors.New("no dead letter of identity.email has the event id evt_1")
				}),
			record.EXPECT().Record(gomock.Any(), "an", audit.DeadLettersDiscarded, queue, gomock.Any()),
		)
		j, err := d.HandleNamed(t.Context(), queue, operations.Discard, []string{"evt_1"}, operations.Order{By: "an", Why: "tests"})
		require.NoError(t, err)
		synctest.Wait()
		j, err = d.Job(j.ID)
		require.NoError(t, err)
		require.Equal(t, operations.Failed, j.State)
		require.Contains(t, j.Error, "has the event id evt_1")
		stop()
		require.NoError(t, <-ended)
	})
}

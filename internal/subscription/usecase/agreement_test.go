package usecase_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit/audittest"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/repository/redisdb"
	"github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	"github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/database"
)

// handClock is a clock that the test moves.
type handClock struct{ now time.Time }

func (c *handClock) Now() time.Time { return c.now }

// world is one user, whom everything happens to, with all that says what they hold.
type world struct {
	*testing.T
	random     *rand.Rand
	clock      *handClock
	db         *database.DB
	lifecycle  *usecase.Lifecycle
	projection *usecase.Projection
	events     *committed
	applied    int // of events
	redis      *goredis.Client
	userID     string
	plans      []subscription.Plan
	versions   []int64 // of what Redis had
}

func newWorld(t *testing.T, db *database.DB, seed uint64) *world {
	t.Helper()
	ctx := context.Background()
	server := miniredis.RunT(t)
	w := &world{
		T:      t,
		random: rand.New(rand.NewPCG(seed, seed)), // of a seed, so that a failure can be repeated
		clock:  &handClock{now.AddDate(0, 0, int(seed))},
		db:     db,
		events: &committed{db: db},
		redis:  goredis.NewClient(&goredis.Options{Addr: server.Addr()}),
		userID: uuid.NewString(),
	}
	t.Cleanup(func() { _ = w.redis.Close() })
	repo, plans := sqldb.NewSubscriptions(db), sqldb.NewPlans(db)
	w.lifecycle = usecase.NewLifecycle(usecase.LifecycleDeps{
		Audit: &audittest.Recorder{},
		Tx:    db, Clock: w.clock, Subscriptions: repo, Plans: plans, Users: everyone{}, Trials: sqldb.NewTrials(db), TrialKey: trialKey, Events: w.events, PastDueGrace: grace,
	})
	w.projection = usecase.NewProjection(usecase.ProjectionDeps{
		Clock: w.clock, Subscriptions: repo, States: redisdb.New(w.redis), PastDueGrace: grace,
	})
	_, err := db.Exec(ctx, "storing a user", "INSERT INTO users (id, username, created_at, updated_at) VALUES ($1, $2, $3, $3)",
		w.userID, w.userID+"@example.com", now)
	require.NoError(t, err)
	for _, code := range []string{"basic", "pro"} {
		p, err := plans.Ensure(ctx, subscription.Plan{ID: uuid.NewString(), Name: code, Code: code, CreatedAt: now, UpdatedAt: now})
		require.NoError(t, err)
		w.plans = append(w.plans, p)
	}
	return w
}

// pick returns one of options.
func pick[T any](w *world, options ...T) T { return options[w.random.IntN(len(options))] }

// end returns none, or a time within three weeks around now.
func (w *world) end() *time.Time {
	if w.random.IntN(4) == 0 {
		return nil
	}
	return ptr(w.clock.now.Add(time.Duration(w.random.IntN(21*24)-3*24) * time.Hour))
}

// any returns the id of one of the user's subscriptions.
func (w *world) any() string {
	ids, err := database.All(context.Background(), w.db, "reading ids", database.Text,
		"SELECT id FROM subscriptions WHERE user_id = $1 AND deleted_at IS NULL ORDER BY id", w.userID)
	require.NoError(w, err)
	if len(ids) == 0 {
		return uuid.NewString()
	}
	return pick(w, ids...)
}

// step does something at random, and returns what it was.
func (w *world) step() (what string, err error) {
	ctx := context.Background()
	status := pick(w, subscription.StatusActive, subscription.StatusTrialing, subscription.StatusPastDue,
		subscription.StatusCancelled, subscription.StatusExpired)
	switch w.random.IntN(8) {
	case 0:
		d := time.Duration(w.random.IntN(9*24)) * time.Hour
		w.clock.now = w.clock.now.Add(d)
		return "time passes: " + d.String(), nil
	case 1:
		return "trial", w.lifecycle.StartTrial(ctx, w.userID, w.userID+"@example.com")
	case 2:
		_, err = w.lifecycle.Create(ctx, admin, subscription.Draft{
			UserID: w.userID, PlanID: pick(w, w.plans...).ID, Status: status, StartsAt: w.clock.now, EndsAt: w.end(),
		})
		return fmt.Sprintf("create %s", status), err
	case 3:
		a := subscription.Amendment{Status: pick(w, status, ""), PlanID: pick(w, w.plans[0].ID, w.plans[1].ID, "")}
		if w.random.IntN(2) == 0 {
			a.EndsAt = given(w.end())
		}
		_, err = w.lifecycle.Update(ctx, admin, w.any(), a)
		return fmt.Sprintf("update %+v", a), err
	case 4:
		_, err = w.lifecycle.Cancel(ctx, subscription.Actor{UserID: w.userID}, w.any(), "")
		return "cancel", err
	case 5:
		return "delete", w.lifecycle.Delete(ctx, admin, w.any())
	}
	b := subscription.Bill{
		PlanCode: pick(w, w.plans...).Code, EndsAt: w.end(), OccurredAt: w.clock.now.Add(-time.Duration(w.random.IntN(48)) * time.Hour),
		Status: pick(w, subscription.StatusActive, subscription.StatusActive, subscription.StatusPastDue, subscription.StatusCancelled),
	}
	_, err = w.lifecycle.Apply(ctx, w.userID, b)
	return fmt.Sprintf("bill %+v", b), err
}

// deliver applies the events since the last time, in any order and some of them twice.
func (w *world) deliver() {
	all := w.events.Events()
	fresh := all[w.applied:]
	w.applied = len(all)
	w.random.Shuffle(len(fresh), func(i, j int) { fresh[i], fresh[j] = fresh[j], fresh[i] })
	for _, e := range append(fresh, fresh...) {
		var s subscription.State
		switch d := e.Data.(type) {
		case event.SubscriptionCreatedData:
			s = subscription.State{Version: d.Version, SubscriptionID: d.SubscriptionID, PlanCode: d.PlanCode, Status: subscription.Status(d.Status), EffectiveUntil: d.EffectiveUntil}
		case event.SubscriptionCancelledData:
			s = subscription.State{Version: d.Version, SubscriptionID: d.SubscriptionID, PlanCode: d.PlanCode, Status: subscription.Status(d.NewStatus), EffectiveUntil: d.EffectiveUntil}
		case event.SubscriptionStatusChangedData:
			s = subscription.State{Version: d.Version, SubscriptionID: d.SubscriptionID, PlanCode: d.PlanCode, Status: subscription.Status(d.NewStatus), EffectiveUntil: d.EffectiveUntil}
		}
		s.UserID, s.UpdatedAt = w.userID, e.Time
		if err := w.projection.MirrorState(context.Background(), s); err != nil {
			require.EqualError(w, err, event.Drop(event.DropStale).Error())
		}
	}
}

// requireAgreement fails unless the user's subscription, their entitlement and the state in Redis say the same.
func (w *world) requireAgreement(history []string) {
	w.Helper()
	ctx := context.Background()
	hash, err := w.redis.HGetAll(ctx, redisdb.Key(w.userID)).Result()
	require.NoError(w, err)
	e, err := w.lifecycle.Entitlement(ctx, w.userID)
	require.NoError(w, err)
	s, _, err := w.lifecycle.Current(ctx, w.userID)
	require.Equal(w, e.Entitled, err == nil, "me; %v", history)
	if err == nil {
		require.Equal(w, hash["subscription_id"], s.ID, "%v", history)
	}
	if len(hash) == 0 {
		require.Zero(w, e)
		return
	}
	until := ""
	if e.Until != nil {
		until = e.Until.Format("2006-01-02T15:04:05.000Z07:00")
	}
	status := subscription.Status(hash["status"])
	require.Equal(w, map[string]string{
		"version": fmt.Sprint(e.Version), "plan_code": e.PlanCode, "status": string(e.Status), "effective_until": until,
	}, map[string]string{
		"version": hash["version"], "plan_code": hash["plan_code"], "status": hash["status"], "effective_until": hash["effective_until"],
	}, "%v", history)
	inForce := status != subscription.StatusExpired && (until == "" || w.clock.now.Format(time.RFC3339) < until)
	require.Equal(w, inForce, e.Entitled, "what a reader of Redis concludes; %v", history)
	w.versions = append(w.versions, e.Version)
}

// Whatever is done to a user, in whatever order, /subscriptions/me, the entitlement and smap:sub:{user} agree, and at most
// one subscription entitles them.
func TestAgreement(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		t.Parallel()
		done := map[string]int{}
		for seed := range uint64(30) {
			w := newWorld(t, db, seed)
			var history []string
			for range 25 {
				what, err := w.step()
				if err != nil {
					require.NotEqual(t, apperror.Internal, apperror.KindOf(err), "%s: %v", what, err)
					what += ": " + err.Error()
				} else {
					done[what[:2]]++
				}
				history = append(history, what)
				w.deliver()
				w.requireAgreement(history)
				w.requireOneEntitles(history)
			}
			require.IsNonDecreasing(t, w.versions, "%v", history)
			before, err := w.redis.HGetAll(context.Background(), redisdb.Key(w.userID)).Result()
			require.NoError(t, err)
			_, err = w.projection.RebuildStates(context.Background())
			require.NoError(t, err)
			after, err := w.redis.HGetAll(context.Background(), redisdb.Key(w.userID)).Result()
			require.NoError(t, err)
			require.Equal(t, before, after, "rebuilding changes nothing; %v", history)
		}
		require.Len(t, done, 7, "every kind of step has succeeded: %v", done)
	})
}

func (w *world) requireOneEntitles(history []string) {
	w.Helper()
	all, _, err := sqldb.NewSubscriptions(w.db).List(context.Background(), subscription.Filter{UserIDs: []string{w.userID}, Limit: 100})
	require.NoError(w, err)
	n := 0
	for _, s := range all {
		if s.Entitled(w.clock.now, grace) {
			n++
		}
	}
	require.LessOrEqual(w, n, 1, "%v", history)
}

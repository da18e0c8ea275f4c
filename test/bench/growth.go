package main

import (
	"context"
	"crypto/md5" //nolint:gosec // G501: ids that the database computes as well
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	projectsql "github.com/smap-platform/identity/internal/project/repository/sqldb"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/test/harness"
)

const (
	// smallest is how many rows each table has at a service that has just begun. It stays so beside one that grows.
	smallest = 1_000
	// growthAim is how many times as long an operation may take on the largest tables.
	growthAim = 1.5
)

// growth measures what takes longer when the tables grow. Beside a service whose tables grow from 1,000 rows to b.rows
// stands one whose tables do not. Each operation is done at both in turns, so that both share every disturbance. All is
// done in this process, by what the binaries are made of; no password is hashed, which costs the same on any table.
func (b *bench) growth(ctx context.Context) error {
	small, err := b.newGrown(ctx)
	if err != nil {
		return err
	}
	defer small.close(ctx)
	large, err := b.newGrown(ctx)
	if err != nil {
		return err
	}
	defer large.close(ctx)
	if err := small.growTo(ctx, smallest); err != nil {
		return err
	}
	header := "time per operation"
	curves := make([]string, len(operations))
	for n := smallest; n <= b.rows; n *= 10 {
		started := time.Now()
		if err := large.growTo(ctx, n); err != nil {
			return err
		}
		fmt.Printf("growth: filled to %d rows in %s\n", n, time.Since(started).Round(time.Second))
		header += fmt.Sprintf("\t%d rows\tratio", n)
		for i, o := range operations {
			took, ratio, err := compareGrown(ctx, o, small, large)
			if err != nil {
				return fmt.Errorf("%s, %d rows: %w", o.name, n, err)
			}
			curves[i] += fmt.Sprintf("\t%.2f ms\t%.2f", took, ratio)
			if n*10 > b.rows {
				curves[i] += fmt.Sprintf("\t≤ %.1f\t%s", growthAim, met(ratio <= growthAim))
			}
		}
	}
	for i, o := range operations {
		b.report.add(header+"\taim\t", "%s%s", o.name, curves[i])
	}
	return b.purging(ctx, large)
}

// operation is what is measured. Its samples are of different rows.
type operation struct {
	name    string
	samples int
	prepare func(g *grown, ctx context.Context) error // before each, not timed; nil: nothing
	do      func(g *grown, ctx context.Context) (time.Duration, error)
}

var operations = []operation{
	{name: "login, no password hashed", samples: 200, do: whole((*grown).login)},
	{name: "registration, no password hashed", samples: 200, do: whole((*grown).register)},
	{name: "me", samples: 200, prepare: (*grown).use, do: whole((*grown).me)},
	{name: "api user show", samples: 100, prepare: (*grown).register, do: whole((*grown).showUser)},
	{name: "outbox: deleting 512 rows and claiming 512", samples: 15, prepare: (*grown).refill, do: (*grown).claim},
	{name: "outbox: the first claim, with a look at the keys", samples: 15, prepare: (*grown).refill, do: (*grown).firstClaim},
	{name: "project sweep, 100 projects", samples: 20, prepare: (*grown).forgetTouches, do: whole((*grown).sweep)},
	{name: "scheduler, nothing is due", samples: 50, do: whole((*grown).schedule)},
	{name: "scheduler, when something is due next", samples: 50, do: whole((*grown).nextDue)},
	{name: "scheduler, 100 trials end", samples: 20, prepare: (*grown).endTrials, do: whole((*grown).schedule)},
	{name: "the first 50 of dlq list", samples: 5, do: (*grown).firstPage},
}

// whole times an operation as a whole.
func whole(do func(g *grown, ctx context.Context) error) func(g *grown, ctx context.Context) (time.Duration, error) {
	return func(g *grown, ctx context.Context) (time.Duration, error) {
		started := time.Now()
		err := do(g, ctx)
		return time.Since(started), err
	}
}

// compareGrown does an operation at both in turns, and returns how many milliseconds it takes at the large one and how many
// times as long that is. Both are medians, of all samples and of all pairs: what disturbs one pair disturbs no other. A tenth
// more pairs come before them and are not counted.
func compareGrown(ctx context.Context, o operation, small, large *grown) (took, ratio float64, err error) {
	var times, ratios []float64
	for i := range o.samples + o.samples/10 + 1 {
		var pair [2]float64
		for _, k := range []int{i % 2, 1 - i%2} {
			g := []*grown{small, large}[k]
			if o.prepare != nil {
				if err := o.prepare(g, ctx); err != nil {
					return 0, 0, err
				}
			}
			d, err := o.do(g, ctx)
			if err != nil {
				return 0, 0, err
			}
			pair[k] = d.Seconds()
		}
		if i > o.samples/10 {
			times, ratios = append(times, 1000*pair[1]), append(ratios, pair[1]/pair[0])
		}
	}
	return median(times), median(ratios), nil
}

// grown is a service on tables with so many rows.
type grown struct {
	*harness.System
	rows   int
	cfg    config.Config
	api    *app.App
	db     *database.DB
	clock  *database.Clock
	sealer *outbox.Sealer
	redis  *goredis.Client

	scheduler *schedulerBench
	sweeper   *projects.Sweeper
	people    int // registered by register
	used      int // how often use was called
}

func (b *bench) newGrown(ctx context.Context) (*grown, error) {
	s, err := b.start(ctx)
	if err != nil {
		return nil, err
	}
	consumer, err := config.Load(config.Consumer)
	if err != nil {
		return nil, err
	}
	g := &grown{System: s, cfg: b.config, redis: b.openRedis(s)}
	g.cfg.Accounts = consumer.Accounts // how long the purge keeps what
	g.cfg.Postgres.Database, g.cfg.HTTP.AppPort, g.cfg.Redis.StateDB = s.Database, 0, s.Redis.Options().DB
	g.cfg.RabbitMQ.URL = config.Secret(s.BrokerURL)
	if g.api, err = app.NewAPI(ctx, g.cfg, "bench", zerolog.Nop(), app.WithPasswords(agreeing{})); err != nil {
		return nil, err
	}
	if g.db, err = database.Open(database.Options{Dialect: database.Postgres, DSN: g.cfg.Postgres.DSN(), MaxConns: 5}); err != nil {
		return nil, err
	}
	g.clock = database.NewClock(g.db)
	if g.sealer, err = outbox.NewSealer(g.cfg.Secrets.EventsSeal); err != nil {
		return nil, err
	}
	events := outbox.NewPublisher(g.db, g.sealer, g.clock, func() {})
	g.scheduler = &schedulerBench{db: g.db, clock: g.clock, events: events}
	store := redisdb.New(g.redis)
	g.sweeper = projects.NewSweeper(projects.Deps{
		Tx: g.db, Clock: g.clock, Progress: store, Open: store, Completions: projectsql.NewCompletions(g.db), Events: events,
		Listener: nil, Updates: unwatched{}, Observer: unwatched{},
	})
	return g, errors.Join(g.clock.Sync(ctx), g.declare(ctx))
}

func (g *grown) close(ctx context.Context) {
	end(ctx, g.api)
	_ = g.db.Close() // the database is dropped next
	_ = g.redis.Close()
}

// id is what the database makes of md5(kind || n).
func id(kind string, n int) string {
	return uuid.UUID(md5.Sum(fmt.Appendf(nil, "%s%d", kind, n))).String() //nolint:gosec // G401: no secret
}

// any returns the number of one of the rows.
func (g *grown) any() int { return 1 + rand.IntN(g.rows) }

// user is the number of the one whose session is in use: each has their turn before any has it again.
func (g *grown) user() int {
	return 1 + g.used*7919%g.rows // a prime: no size is a multiple of it
}

// stranger returns a client in a network of its own.
func (g *grown) stranger() authentication.Client {
	n := networks.Add(1)
	return authentication.Client{Locale: "en", IP: netip.AddrFrom4([4]byte{20, byte(n >> 16), byte(n >> 8), byte(n)})} //nolint:gosec // G115: digits
}

func (g *grown) login(ctx context.Context) error {
	c := authentication.Credentials{Email: fmt.Sprintf("person%d@example.com", g.any()), Password: harness.Password}
	_, err := g.api.Authentication().Login(ctx, c, false, g.stranger())
	return err
}

func (g *grown) register(ctx context.Context) error {
	g.people++
	c := authentication.Credentials{Email: g.registered(), Password: harness.Password}
	_, err := g.api.Authentication().Register(ctx, c, g.stranger())
	return err
}

// registered is the address of who has registered last.
func (g *grown) registered() string { return fmt.Sprintf("new%d@example.com", g.people) }

// use uses another session, so that it is not stored again within the minute.
func (g *grown) use(ctx context.Context) error {
	g.used++
	_, err := g.DB.ExecContext(ctx, "UPDATE sessions SET last_seen_at = now(), newest_iat = now() WHERE id = $1", id("session", g.user()))
	return err
}

func (g *grown) me(ctx context.Context) error {
	_, err := g.api.Authentication().Identify(ctx, authentication.Claims{
		UserID: id("user", g.user()), SessionID: id("session", g.user()), IssuedAt: time.Now().Add(-time.Minute),
		ExpiresAt: time.Now().Add(time.Hour),
	})
	return err
}

func (g *grown) showUser(ctx context.Context) error {
	p, err := app.ShowPerson(ctx, g.cfg, g.db, g.registered())
	if err == nil && (len(p.Waiting) != 1 || p.Waiting[0].State != "outbox") {
		err = fmt.Errorf("of a person who has just registered: %+v", p)
	}
	return err
}

// refill makes up for the rows of the outbox that were claimed and deleted.
func (g *grown) refill(ctx context.Context) error {
	return schematest.Refill(ctx, g.DB, 0, min(g.rows, 3*chunk), g.sealer.KeyIDs()[0])
}

// claim relays two batches to a broker that takes the first, and times what is between them, as if both were full.
func (g *grown) claim(ctx context.Context) (time.Duration, error) {
	taker, err := g.relay(ctx)
	if err == nil && len(taker.came) < 2 {
		err = errors.New("there was no second batch")
	}
	if err != nil {
		return 0, err
	}
	return taker.came[1].Sub(taker.took) * 2 * chunk / time.Duration(taker.rows), nil
}

// firstClaim times a relay that has just started until its first batch.
func (g *grown) firstClaim(ctx context.Context) (time.Duration, error) {
	started := time.Now()
	taker, err := g.relay(ctx)
	if err != nil {
		return 0, err
	}
	return taker.came[0].Sub(started), nil
}

func (g *grown) relay(ctx context.Context) (*taker, error) {
	if err := g.clock.Sync(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	t := &taker{stop: cancel}
	err := outbox.NewRelay(g.db, g.sealer, g.clock, t, unobservedRelay{}, chunk, zerolog.Nop()).Run(ctx)
	if err == nil && len(t.came) == 0 {
		err = errors.New("nothing was claimed")
	}
	return t, err
}

// taker is a broker that confirms the first batch and refuses the second.
type taker struct {
	came []time.Time
	rows int // of both
	took time.Time
	stop func()
}

func (t *taker) Send(_ context.Context, messages []event.Message) []error {
	t.came, t.rows = append(t.came, time.Now()), t.rows+len(messages)
	results := make([]error, len(messages))
	if len(t.came) == 1 {
		t.took = time.Now()
		return results
	}
	t.stop()
	for i := range results {
		results[i] = event.ErrUnavailable
	}
	return results
}

// forgetTouches makes all open projects ones that nobody has touched for long.
func (g *grown) forgetTouches(ctx context.Context) error {
	touched, err := g.redis.ZRangeArgs(ctx, goredis.ZRangeArgs{
		Key: redisdb.OpenKey, Start: "1e9", Stop: "+inf", ByScore: true,
	}).Result()
	if err != nil || len(touched) == 0 {
		return err
	}
	members := make([]goredis.Z, len(touched))
	for i, id := range touched {
		members[i] = goredis.Z{Score: float64(rand.IntN(g.rows)), Member: id}
	}
	return g.redis.ZAdd(ctx, redisdb.OpenKey, members...).Err()
}

func (g *grown) sweep(ctx context.Context) error { return g.sweeper.Sweep(ctx) }

// endTrials lets a hundred trials end, the same each time.
func (g *grown) endTrials(ctx context.Context) error {
	_, err := g.DB.ExecContext(ctx, `UPDATE subscriptions SET status = 'trialing', trial_ends_at = now() - interval '1 hour'
		WHERE id IN (SELECT md5('subscription' || n * 10 + 2)::uuid FROM generate_series(0, 99) n)`)
	return err
}

func (g *grown) schedule(ctx context.Context) error { return g.scheduler.ours(ctx) }

func (g *grown) nextDue(ctx context.Context) error {
	_, _, err := g.scheduler.scheduler().NextDue(ctx, g.clock.Now())
	return err
}

func (g *grown) deadLetters() *rabbitmq.DeadLetters {
	return rabbitmq.NewDeadLetters(g.BrokerOptions("dead letters"), app.Queues(g.cfg))
}

// firstPage times the first letters of a list, which has to be brought to its end all the same.
func (g *grown) firstPage(ctx context.Context) (took time.Duration, err error) {
	enough := errors.New("enough")
	started, seen := time.Now(), 0
	_, err = g.deadLetters().Walk(ctx, app.EmailQueue, func(rabbitmq.Letter) (rabbitmq.Handling, error) {
		if seen++; seen < 50 {
			return rabbitmq.Keep, nil
		}
		took = time.Since(started)
		return rabbitmq.Keep, enough
	}, func(event.DeadLetter) {})
	if errors.Is(err, enough) {
		err = nil
	}
	return took, err
}

// agreeing is a PasswordHasher that does no work, and to which every password is right.
type agreeing struct{ unhashed }

func (agreeing) Verify(_ context.Context, hash, _ string) (ok, outdated bool, err error) {
	return strings.HasPrefix(hash, "un"), false, nil
}

type unobservedRelay struct{}

func (unobservedRelay) Published(event.Message, time.Duration) {}
func (unobservedRelay) Failed(event.Message, string, bool)     {}

type unwatched struct{}

func (unwatched) Completed(project.Completion)     {}
func (unwatched) Publish(string, project.Progress) {}
func (unwatched) SweepFailed(string, bool, error)  {}
func (unwatched) SweepHealth(error)                {}
func (unwatched) SignalFailed(string, error)       {}

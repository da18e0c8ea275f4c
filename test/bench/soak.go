package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/test/harness"
)

const (
	// soakTime is how long soak lasts; the first third of it is not judged.
	soakTime  = 15 * time.Minute
	soakEvery = 5 * time.Second
	// soakSlope is by how much what is watched may grow over the time that is judged, of its mean, and soakDead how many dead rows
	// a table may have, of those that live. A table with fewer than soakFew dead rows is not judged: autovacuum looks once a minute.
	soakSlope, soakDead, soakFew = 0.02, 0.2, 1000
)

// soak has an api and a consumer work at half of what they can, and looks at whether anything grows: memory, goroutines and
// descriptors of both, and their connections to each server. At its end it looks for rows that nobody has vacuumed.
func (b *bench) soak(ctx context.Context) error {
	w, err := b.startWatched(ctx)
	if err != nil {
		return err
	}
	l := &lives{bench: b, watched: w, client: w.Client().Forgetful()}
	full, err := l.flatOut(ctx)
	if err != nil {
		return err
	}
	half := full / 2
	fmt.Printf("soak: %.1f lives a second at most, %.1f from now on\n", full, half)
	life, stop := context.WithTimeout(ctx, b.lasting(soakTime))
	defer stop()
	worked := make(chan error, 1)
	go func() { worked <- l.steadily(life, time.Duration(float64(time.Second)/half)) }()
	series := map[string][]float64{}
	for range everyTick(life, soakEvery) {
		now, err := watch(ctx, w.System)
		if err != nil {
			return errors.Join(err, <-worked)
		}
		for name, value := range now {
			series[name] = append(series[name], value)
		}
	}
	if err := <-worked; err != nil {
		return err
	}
	b.report.note("%d people registered, proved their address, logged in and out, and had a project of ten items, %.1f a second; "+
		"%d requests were refused because hashing was busy.", l.lived.Load(), half, l.busy.Load())
	for _, name := range slices.Sorted(maps.Keys(series)) {
		judged := series[name][len(series[name])/3:]
		mean, slope := trend(judged)
		b.report.add("what could grow\tfirst\tmean\tlast\taim\t\tslope", "%s\t%.0f\t%.0f\t%.0f\t< %.0f %%\t%s\t%+.1f %%", name,
			judged[0], mean, judged[len(judged)-1], 100*soakSlope, met(slope < soakSlope), 100*slope)
	}
	return b.deadRows(ctx, w.System)
}

// lives are people who come and go.
type lives struct {
	*bench
	*watched
	client      *harness.Client
	lived, busy atomic.Int64
}

// flatOut returns how many lives there are in a second when so many people live at a time that hashing is never idle.
func (l *lives) flatOut(ctx context.Context) (perSecond float64, err error) {
	const warm, long = 5 * time.Second, 20 * time.Second
	began := time.Now()
	var before int64
	var once sync.Once
	err = inParallel(2*runtime.GOMAXPROCS(0), func(int) error {
		for time.Since(began) < warm+long {
			if err := l.live(ctx); err != nil {
				return err
			}
			if time.Since(began) > warm {
				once.Do(func() { before = l.lived.Load() })
			}
		}
		return nil
	})
	return float64(l.lived.Load()-before) / long.Seconds(), err
}

// steadily begins a life at every pause until ctx ends, and waits for their end.
func (l *lives) steadily(ctx context.Context, pause time.Duration) error {
	var running sync.WaitGroup
	failed := make(chan error, 1)
	for range everyTick(ctx, pause) {
		running.Go(func() {
			if err := l.live(context.WithoutCancel(ctx)); err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
		if len(failed) > 0 {
			break
		}
	}
	running.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// live is what a person does, and what is done for them.
func (l *lives) live(ctx context.Context) error {
	email := fmt.Sprintf("soak%s@example.com", uuid.NewString())
	p := newStranger(l.client)
	_, browser, err := p.register(ctx, email, harness.Password)
	if l.isBusy(err) {
		return nil
	}
	if err != nil {
		return err
	}
	userID, err := l.setCode(ctx, l.System, email)
	if err != nil {
		return err
	}
	proof := map[string]string{"email": email, "otp": knownCode, "registration": browser}
	if _, err := harness.Expect(http.StatusOK)(p.post(ctx, "verify-otp", proof)); err != nil {
		return err
	}
	login, err := harness.Expect(http.StatusOK)(p.post(ctx, "login", map[string]string{"email": email, "password": harness.Password}))
	if l.isBusy(err) {
		return nil
	}
	if err != nil {
		return err
	}
	cookie := l.config.Cookie.Name + "=" + login.Cookie(l.config.Cookie.Name).Value
	for range 5 {
		if _, err := harness.Expect(http.StatusOK)(p.Call(ctx, http.MethodGet, mePath, nil, "Cookie", cookie)); err != nil {
			return err
		}
	}
	if err := l.count(ctx, userID); err != nil {
		return err
	}
	_, err = harness.Expect(http.StatusOK)(p.Call(ctx, http.MethodPost, "/authentication/logout", nil, "Cookie", cookie))
	l.lived.Add(1)
	return err
}

// count is a project of a user, from its beginning to its end.
func (l *lives) count(ctx context.Context, userID string) error {
	own := &watched{System: l.System, owner: l.owner, key: l.key, id: "proj_" + uuid.NewString()}
	if _, err := own.internal(ctx, http.MethodPost, "", map[string]any{"user_id": userID, "total": 10}); err != nil {
		return err
	}
	for i := range 10 {
		if err := own.mark(ctx, fmt.Sprint("item-", i)); err != nil {
			return err
		}
	}
	return nil
}

func (l *lives) isBusy(err error) bool {
	busy := err != nil && strings.Contains(err.Error(), "status 503")
	if busy {
		l.busy.Add(1)
	}
	return busy
}

// watch returns what could grow.
func watch(ctx context.Context, s *harness.System) (map[string]float64, error) {
	now := map[string]float64{}
	for _, p := range s.Processes() {
		resident, _, err := p.Memory()
		if err != nil {
			return nil, err
		}
		now[p.Name+", memory, MiB"] = float64(resident) / (1 << 20)
		for name, metric := range map[string]string{"goroutines": "go_goroutines", "descriptors": "process_open_fds"} {
			if now[p.Name+", "+name], err = p.Metric(ctx, metric); err != nil {
				return nil, err
			}
		}
	}
	connections, err := s.Count(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'", s.Database)
	if err != nil {
		return nil, err
	}
	now["connections to PostgreSQL"] = float64(connections)
	list, err := s.Redis.Do(ctx, "CLIENT", "LIST").Text()
	if err != nil {
		return nil, err
	}
	now["connections to Redis"] = float64(strings.Count(list, fmt.Sprintf(" db=%d ", s.Redis.Options().DB)))
	var links []struct{}
	if err := harness.Manage(ctx, http.MethodGet, "/api/vhosts/"+s.VirtualHost+"/connections", nil, &links); err != nil {
		return nil, err
	}
	now["connections to RabbitMQ"] = float64(len(links))
	return now, nil
}

// trend returns the mean of values, and by which part of it the line of least squares through them rises from the first to the
// last.
func trend(values []float64) (mean, rise float64) {
	n := float64(len(values))
	for _, v := range values {
		mean += v / n
	}
	var covariance, variance float64
	for i, v := range values {
		x := float64(i) - (n-1)/2
		covariance += x * (v - mean)
		variance += x * x
	}
	if mean == 0 || variance == 0 {
		return mean, 0
	}
	return mean, covariance / variance * (n - 1) / mean
}

// deadRows reports the tables with the most dead rows.
func (b *bench) deadRows(ctx context.Context, s *harness.System) error {
	rows, err := s.DB.QueryContext(ctx, `SELECT relname, n_live_tup, n_dead_tup, autovacuum_count FROM pg_stat_user_tables
		WHERE n_tup_upd + n_tup_del > 0 ORDER BY n_dead_tup DESC LIMIT 10`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var table string
		var live, dead, vacuums int
		if err := rows.Scan(&table, &live, &dead, &vacuums); err != nil {
			return err
		}
		b.report.add("rows at the end\tlive\tdead\tvacuumed\taim\t\tdead of live", "%s\t%d\t%d\t%d\t< %.0f %%\t%s\t%.0f %%", table, live, dead,
			vacuums, 100*soakDead, met(dead < soakFew || float64(dead) < soakDead*float64(live)), 100*float64(dead)/max(1, float64(live)))
	}
	return rows.Err()
}

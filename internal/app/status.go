package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/heartbeat"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	progressredis "github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/internal/status"
	"github.com/smap-platform/identity/pkg/database"
	rabbitconn "github.com/smap-platform/identity/pkg/rabbitmq"
	"github.com/smap-platform/identity/pkg/redis"
)

// factsEvery is how long facts are kept: every process asks the servers for them no more often.
const factsEvery = 10 * time.Second

// connectingFor is how long a process may take to connect before it reports that it cannot.
const connectingFor = heartbeat.BeatEvery

// report returns what this process says of itself with its heartbeat.
func (a *App) report(ctx context.Context) status.Report {
	var r status.Report
	for _, lane := range a.lanes {
		r.Lanes = append(r.Lanes, lane.State())
	}
	if a.scheduler != nil && a.cfg.Subscriptions.Scheduler {
		if ran := a.scheduler.LastRun(); !ran.IsZero() {
			r.SchedulerRan = &ran
		}
		if lag, err := a.scheduler.Lag(ctx); err == nil {
			r.SchedulerLag = new(lag.Seconds())
		}
	}
	if a.clock.Now().Sub(a.started) < connectingFor {
		return r
	}
	for server, check := range map[string]*check{"rabbitmq": a.health.rabbitmq, "redis": a.health.redis} {
		if d := check.state(ctx); !d.ok() && ctx.Err() == nil {
			if r.Troubles == nil {
				r.Troubles = map[string]string{}
			}
			r.Troubles[server] = d.Error
		}
	}
	return r
}

// processes returns those that have reported within heartbeat.AliveFor. Of this one it says what is so now.
func (a *App) processes(ctx context.Context) ([]heartbeat.Process, error) {
	return a.processesWithin(ctx, heartbeat.AliveFor)
}

// processesWithin is processes for another time.
func (a *App) processesWithin(ctx context.Context, d time.Duration) ([]heartbeat.Process, error) {
	now := a.clock.Now()
	self := heartbeat.Process{
		ID:        a.heartbeat.ID(),
		Role:      a.process.name(),
		Version:   a.version,
		Note:      string(a.phase()),
		Report:    a.report(ctx).String(),
		StartedAt: a.started,
		SeenAt:    now,
	}
	if a.embedded != nil {
		return []heartbeat.Process{self}, nil // it has no heartbeat, and there is no other
	}
	all, err := heartbeat.List(ctx, a.db, now.Add(-d))
	all = slices.DeleteFunc(all, func(p heartbeat.Process) bool { return p.ID == self.ID })
	return append(all, self), plain(err)
}

// readProcesses returns those that have reported of late, alive or not.
func readProcesses(ctx context.Context, db *database.DB, now time.Time) ([]heartbeat.Process, error) {
	return heartbeat.List(ctx, db, now.Add(-heartbeat.AliveFor))
}

// watchStatus has health and metrics say how the whole service is, from one look at it.
func (a *App) watchStatus() {
	sources := a.sources()
	sources.Database = func(ctx context.Context) status.Dependency { return a.health.database.state(ctx).asStatus() }
	sources.RabbitMQ = func(ctx context.Context) status.Dependency { return a.health.rabbitmq.state(ctx).asStatus() }
	sources.Redis = func(ctx context.Context) status.Dependency { return a.health.redis.state(ctx).asStatus() }
	sources.Processes = a.processes
	sources.Depths = a.broker.Depths
	if a.embedded != nil {
		sources.Roles = []string{inStandalone.name()}
	}
	a.health.facts = &cached[status.Facts]{every: factsEvery, ask: sources.Gather}
	a.metrics.registry.MustRegister(statusGauges(a.health.facts))
}

// statusTimeout is how long `consumer status` waits for the slowest server.
const statusTimeout = 5 * time.Second

// ReadStatus returns how the service is, as far as the servers that cfg names say it. None of them has to be there.
func ReadStatus(ctx context.Context, cfg config.Config, version string) (f status.Facts, err error) {
	db, err := database.Open(database.Options{
		Dialect:  database.Postgres,
		DSN:      cfg.Postgres.DSN(),
		MaxConns: 2,
		ExecMode: database.ExecMode(cfg.Postgres.ExecMode),
	})
	if err != nil {
		return f, err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	in := &infra{cfg: cfg, process: inConsumer, version: version, log: zerolog.Nop(), db: db, clock: database.NewClock(db)}
	in.state, in.cache = openState(cfg.Redis), openCache(cfg.Redis)
	defer func() { err = errors.Join(err, in.state.Close(), in.cache.Close(), db.Close()) }()
	_ = in.clock.Sync(ctx) // else the database is unhealthy, which is said
	return in.askFromOutside().Gather(ctx), nil
}

// askFromOutside returns the sources of a command, which is none of the processes.
func (in *infra) askFromOutside() status.Sources {
	s := in.sources()
	inspector := eventmq.NewInspector(rabbitconn.Options{
		URL: string(in.cfg.RabbitMQ.URL), Name: "identity-status", Log: in.log,
	}, string(in.cfg.RabbitMQ.ManagementURL))
	var depths map[string]event.Depth
	var refusal error
	s.RabbitMQ = func(ctx context.Context) status.Dependency {
		var names []string
		for _, q := range s.Queues {
			names = append(names, q.Names()...)
		}
		if _, depths, refusal = inspector.Look(ctx, names); refusal != nil {
			return status.Dependency{Status: unhealthy, Error: refusal.Error()}
		}
		return status.Dependency{Status: healthy}
	}
	s.Depths = func(context.Context, []string) (map[string]event.Depth, error) { return depths, refusal }
	if in.cfg.RabbitMQ.ManagementURL != "" {
		s.Unacked = inspector.Unacked
	}
	s.Database = func(ctx context.Context) status.Dependency { return checkDatabase(ctx, in.db).asStatus() }
	s.Redis = func(ctx context.Context) status.Dependency { return in.lookAtRedis(ctx).asStatus() }
	s.Processes = func(ctx context.Context) ([]heartbeat.Process, error) {
		all, err := readProcesses(ctx, in.db, in.clock.Now())
		return all, plain(err)
	}
	return s
}

// sources are those that a process and a command have in common.
func (in *infra) sources() status.Sources {
	return status.Sources{
		Now:    in.clock.Now,
		Roles:  []string{inAPI.name(), inConsumer.name()},
		Queues: Queues(in.cfg),
		Halts:  func(ctx context.Context) (map[string]event.Halt, error) { return readHalts(ctx, in.db) },
		Outbox: func(ctx context.Context) (status.Outbox, error) {
			d, err := outboxDepth(ctx, in.db, in.clock.Now())
			return status.Outbox{Rows: d.Rows, Failed: d.Failed, OldestDue: d.OldestDue.Seconds()}, plain(err)
		},
		Mails: func(ctx context.Context) (status.Mails, error) {
			o, err := mailsql.NewLedger(in.db).Owed(ctx, in.clock.Now())
			return status.Mails{Owed: o.Mails, Oldest: o.Oldest.Seconds()}, plain(err)
		},
		Projects: func(ctx context.Context) (status.Projects, error) {
			open, longest, err := progressredis.New(in.state).Standing(ctx)
			if err != nil {
				err = errors.New("redis " + redis.Reason(err))
			}
			return status.Projects{Open: open, Idle: longest.Seconds()}, err
		},
		Snapshot: func(ctx context.Context) (*float64, error) {
			age, known, err := in.db.OldestSnapshot(ctx)
			if err != nil || !known {
				return nil, plain(err)
			}
			return new(age.Seconds()), nil
		},
	}
}

// plain returns an error of the database without its text.
func plain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the database %s", database.Reason(err))
}

var (
	outboxRows   = prometheus.NewDesc("outbox_rows", "Rows waiting in the outbox, due or not.", nil, nil)
	outboxFailed = prometheus.NewDesc("outbox_failed_rows", "Rows given up; `consumer outbox retry` makes them due again.", nil, nil)
	outboxAge    = prometheus.NewDesc("outbox_oldest_due_seconds", "How long the oldest due row has been due; 0 when none is.", nil, nil)
	outboxUp     = prometheus.NewDesc("outbox_up", "1 when the outbox could be read.", nil, nil)

	mailsOwed      = prometheus.NewDesc("mails_owed", "Mails that are due and have not ended.", nil, nil)
	mailOldestOwed = prometheus.NewDesc("mail_oldest_owed_seconds",
		"How long the oldest mail that has not ended has been due; 0 when there is none.", nil, nil)

	processesAlive = prometheus.NewDesc("processes", "Living processes of the service, by heartbeat.", []string{"role", "version"}, nil)
	dependencyUp   = prometheus.NewDesc("dependency_up", "1 when this process's work can be done there.", []string{"dependency"}, nil)

	queueMessages = prometheus.NewDesc("queue_messages",
		"Messages of a queue that wait for a consumer (ready), or on its retry levels (retry).", []string{"queue", "state"}, nil)
	queueConsumers  = prometheus.NewDesc("queue_consumers", "Consumers of a queue.", []string{"queue"}, nil)
	deadLetterDepth = prometheus.NewDesc("dead_letters", "Messages in the dead queue of a queue.", []string{"queue"}, nil)

	lanePaused = prometheus.NewDesc("lane_paused",
		"1 while a process sends nothing from the queue because the mail server refuses the service.", []string{"queue"}, nil)
	laneHalted = prometheus.NewDesc("lane_paused_by_operator_seconds",
		"How long a person has had the queue paused; 0 when nobody has.", []string{"queue"}, nil)
	schedulerLag = prometheus.NewDesc("subscription_scheduler_lag_seconds",
		"How long the subscription has been due that should have been expired first; 0 when none is.", nil, nil)

	projectsOpen = prometheus.NewDesc("projects_open", "Projects that are counted and not complete.", nil, nil)
	projectIdle  = prometheus.NewDesc("project_longest_idle_seconds",
		"How long the open project has had no change that has had none for longest.", nil, nil)
	oldestSnapshot = prometheus.NewDesc("database_oldest_snapshot_seconds",
		"How long the oldest transaction has been open that keeps deleted rows from being vacuumed.", nil, nil)
)

// statusGauges shows the facts: every process says the same of the whole service. What is unknown has no series.
func statusGauges(facts *cached[status.Facts]) gauges {
	return gauges{
		[]*prometheus.Desc{
			outboxRows, outboxFailed, outboxAge, outboxUp, mailsOwed, mailOldestOwed, processesAlive, dependencyUp,
			queueMessages, queueConsumers, deadLetterDepth, lanePaused, laneHalted, schedulerLag, projectsOpen, projectIdle,
			oldestSnapshot,
		},
		func(ctx context.Context, set setGauge) {
			f := facts.state(ctx)
			if f.At.IsZero() {
				return
			}
			setServers(f, set)
			setQueues(f, set)
			for _, g := range f.Processes {
				set(processesAlive, float64(g.Count), g.Role, g.Version)
			}
			for _, lane := range f.Lanes {
				if lane.Processes > 0 {
					set(lanePaused, oneIf(lane.Paused), lane.Queue)
				}
				set(laneHalted, lane.HaltedFor(f.At).Seconds(), lane.Queue)
			}
			setKnown(set, schedulerLag, f.SchedulerLag)
			setKnown(set, oldestSnapshot, f.OldestSnapshot)
			if p := f.Projects; p != nil {
				set(projectsOpen, float64(p.Open))
				set(projectIdle, p.Idle)
			}
		},
	}
}

func setServers(f status.Facts, set setGauge) {
	for name, d := range map[string]status.Dependency{"database": f.Database, "rabbitmq": f.RabbitMQ, "redis": f.Redis} {
		set(dependencyUp, oneIf(d.Status == healthy), name)
	}
	set(outboxUp, oneIf(f.Outbox != nil))
	if o := f.Outbox; o != nil {
		set(outboxRows, float64(o.Rows))
		set(outboxFailed, float64(o.Failed))
		set(outboxAge, o.OldestDue)
	}
	if m := f.Mails; m != nil {
		set(mailsOwed, float64(m.Owed))
		set(mailOldestOwed, m.Oldest)
	}
}

func setQueues(f status.Facts, set setGauge) {
	for _, q := range f.Queues {
		setKnown(set, queueMessages, q.Ready, q.Name, "ready")
		setKnown(set, queueMessages, q.Retry, q.Name, "retry")
		setKnown(set, queueConsumers, q.Consumers, q.Name)
		setKnown(set, deadLetterDepth, q.Dead, q.Name)
	}
}

func setKnown[N int | float64](set setGauge, desc *prometheus.Desc, value *N, labels ...string) {
	if value != nil {
		set(desc, float64(*value), labels...)
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

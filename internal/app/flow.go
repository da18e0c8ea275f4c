package app

import (
	"context"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/internal/console"
	consolehttp "github.com/smap-platform/identity/internal/console/delivery/http"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// What follows tells the console of a standalone what happens to events. In the other programs there is no recorder, and
// nothing is put around anything.

// registerConsole adds the page at / and what it needs below /dev.
func registerConsole(a *App) {
	guard := a.guard()
	if !guard.Open {
		a.log.Warn().Msg("the console at / and /dev are refused because HOST lets other machines in; unset it, or set " +
			"STANDALONE_PUBLIC=true where everyone who reaches it may see every code")
	}
	consolehttp.Register(a.web, consolehttp.Options{
		Recorder:  a.embedded.recorder,
		Guard:     guard,
		Version:   a.version,
		Now:       a.clock.Now,
		InboxPort: a.embedded.inbox.HTTPPort,
		Promote:   func(ctx context.Context, email string) error { return promote(ctx, a.cfg, a.db, email) },
	})
}

// guard decides who reaches what only a standalone has.
func (in *infra) guard() consolehttp.Guard {
	return consolehttp.Guard{
		Open:  isOpen(in.cfg),
		Hosts: httpserver.Hosts{in.cfg.HTTP.Host},
	}
}

// consolePort is where the page is that shows the inbox in a frame.
func (a *App) consolePort() int { return a.apiListener.Addr().(*net.TCPAddr).Port }

// factOf returns what may be shown of a message. Its trace is the second field of a traceparent (W3C Trace Context).
func factOf(m event.Message) console.Fact {
	f := console.Fact{ID: m.ID, Key: m.Arrived().RoutingKey}
	if fields := strings.Split(m.Headers[event.HeaderTraceparent], "-"); len(fields) == 4 {
		f.Trace = fields[1]
	}
	return f
}

// recordMoves returns a broker's Watch.
func recordMoves(r *console.Recorder) func(event.Message, []string) {
	return func(m event.Message, queues []string) {
		f := factOf(m)
		if m.Exchange != "" {
			r.Record(f, console.Exchange, m.Exchange)
			if len(queues) == 0 {
				r.Record(f, console.Queue, "none here: it is for other services")
			}
		}
		for _, q := range queues {
			r.Record(f, console.Queue, q)
		}
	}
}

// changedTable finds the table in a statement of a handler.
var changedTable = regexp.MustCompile(`^\s*(INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)`)

// recordWrites returns a database's Watch.
func recordWrites(r *console.Recorder) func(context.Context, string) {
	return func(ctx context.Context, statement string) {
		if m := changedTable.FindStringSubmatch(statement); m != nil {
			r.Effect(ctx, "database: "+strings.ToLower(m[1])+" "+m[2])
		}
	}
}

// recordingPublisher records the rows of events once they are committed.
type recordingPublisher struct {
	event.Publisher
	db       *database.DB
	recorder *console.Recorder
}

// Publish implements [event.Publisher]. Of what is done after the commit, the record comes before the relay is woken.
func (p recordingPublisher) Publish(ctx context.Context, events ...event.Event) error {
	var id string
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		id = span.TraceID().String()
	}
	p.db.AfterCommit(ctx, func() {
		for _, e := range events {
			p.recorder.Record(console.Fact{ID: e.ID, Key: string(e.Key), Trace: id}, console.Outbox, "row committed")
		}
	})
	return p.Publisher.Publish(ctx, events...)
}

// consumeObserver returns what sees every delivery.
func (in *infra) consumeObserver() event.Observer {
	o := &consumeObserver{in.log, in.tracer(), in.metrics}
	if in.embedded == nil {
		return o
	}
	return recordingObserver{o, in.embedded.recorder}
}

// mailObserver returns what sees every mail.
func (in *infra) mailObserver() notification.Observer {
	o := &mailObserver{in.log, in.metrics}
	if in.embedded == nil {
		return o
	}
	return recordingMails{o, in.embedded.recorder}
}

// recordingObserver records what handlers do.
type recordingObserver struct {
	event.Observer
	recorder *console.Recorder
}

// Begin implements [event.Observer]. What happens in the context it returns is an effect of the event.
func (o recordingObserver) Begin(
	ctx context.Context, q event.Queue, d event.Delivery,
) (context.Context, func(event.Decision, error)) {
	ctx, finish := o.Observer.Begin(ctx, q, d)
	f := factOf(d.Message)
	end := o.recorder.Begin(f, q.Name)
	started := time.Now()
	return console.With(ctx, f), func(decision event.Decision, err error) {
		end(decision.Outcome, decision.Action != event.Ack, time.Since(started))
		finish(decision, err)
	}
}

// recordingMails records the mails that a server has accepted.
type recordingMails struct {
	notification.Observer
	recorder *console.Recorder
}

// MailAccepted implements [notification.Observer].
func (o recordingMails) MailAccepted(ctx context.Context, eventID, recipient string) {
	o.recorder.Effect(ctx, "mail: accepted by the server")
	o.Observer.MailAccepted(ctx, eventID, recipient)
}

// recordingRedis records what handlers write to Redis.
type recordingRedis struct{ recorder *console.Recorder }

// DialHook implements [goredis.Hook].
func (h recordingRedis) DialHook(next goredis.DialHook) goredis.DialHook { return next }

// ProcessHook implements [goredis.Hook].
func (h recordingRedis) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		err := next(ctx, cmd)
		h.record(ctx, cmd)
		return err
	}
}

// ProcessPipelineHook implements [goredis.Hook].
func (h recordingRedis) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			h.record(ctx, cmd)
		}
		return err
	}
}

// redisWrites are the commands that the service writes with, and where their key is.
var redisWrites = map[string]int{"hset": 1, "set": 1, "del": 1, "expire": 1, "zadd": 1, "zrem": 1, "eval": 3, "evalsha": 3}

// record names the command and its key, and none of the values.
func (h recordingRedis) record(ctx context.Context, cmd goredis.Cmder) {
	at, writes := redisWrites[cmd.Name()]
	args := cmd.Args()
	if !writes || cmd.Err() != nil || len(args) <= at {
		return
	}
	name := cmd.Name()
	if slices.Contains([]string{"eval", "evalsha"}, name) {
		name = "script"
	}
	if key, ok := args[at].(string); ok {
		h.recorder.Effect(ctx, "redis: "+name+" "+key)
	}
}

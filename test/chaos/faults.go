package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/smap-platform/identity/internal/smtptest"
)

// fault is something that goes wrong for some seconds.
type fault struct {
	name  string
	short bool // it belongs to the short run
	// ambiguous: a mail may be accepted while it lasts without the consumer's knowing (RFC 1047).
	ambiguous bool
	// patience is how long recovery may take where the service waits on purpose; 0: recoverWithin.
	patience time.Duration
	prepare  func(r *run) error // before the crowd comes; nil: nothing to do
	begin    func(ctx context.Context, r *run, s *section) error
	end      func(ctx context.Context, r *run) error // nil: it has ended by itself
}

// within returns how long recovery may take.
func (f *fault) within() time.Duration { return cmp.Or(f.patience, recoverWithin) }

// rest returns how long the next fault waits after this one: longer than recovery may take, so that what recovers too late
// is seen before the next one disturbs it, unless the machine is so slow that a mail is prompt after twice the time of prompt.
func (f *fault) rest() time.Duration { return f.within() + 2*prompt }

// nothing goes wrong in the first section.
var nothing = &fault{name: "nothing", begin: func(context.Context, *run, *section) error { return nil }}

// killedInMail is the fault that finds out a consumer which acks before its work.
const killedInMail = "killed consumer with mails in hand"

// faults are all of them, in the order in which they are injected.
var faults = []*fault{
	{name: "killed api", short: true, begin: killProcess(apis), end: restartProcesses},
	{name: killedInMail, short: true, ambiguous: true, begin: killInMail, end: restartProcesses},
	{name: "scheduler and sweeper killed", begin: killLoops, end: endLoops},
	{name: "repairer killed", begin: killRepairer, end: endRepair},
	{name: "eraser killed", begin: killEraser, end: finishErasing},
	{name: "rabbitmq: leader killed", short: true, begin: killNode("leader"), end: restartNodes},
	{name: "rabbitmq: connected node killed", begin: killNode("connected"), end: restartNodes},
	{name: "rabbitmq: two of three killed", short: true, begin: killNode("two"), end: restartNodes},
	{name: "redis: master killed", short: true, begin: killMaster, end: restartServers("redis")},
	{name: "postgres: killed, restarted", ambiguous: true, begin: killPrimary, end: restartServers("postgres")},
	{name: "postgres: killed, standby promoted", short: true, ambiguous: true, begin: promoteStandby, end: restartServers("postgres")},

	toxic("client-api", "200 ms", false),
	toxic("client-api", "black hole", false),
	toxic("client-api", "cut in mid-frame", false),
	toxic("client-api", "1 KB/s", false),
	toxic("api-postgres", "200 ms", true),
	toxic("api-postgres", "black hole", false),
	toxic("api-postgres", "cut in mid-frame", false),
	toxic("api-postgres", "1 KB/s", false),
	toxic("api-rabbitmq", "200 ms", false),
	toxic("api-rabbitmq", "black hole", false),
	toxic("api-rabbitmq", "cut in mid-frame", true),
	toxic("api-rabbitmq", "1 KB/s", false),
	toxic("api-redis", "200 ms", false),
	toxic("api-redis", "black hole", false),
	toxic("api-redis", "cut in mid-frame", false),
	toxic("api-redis", "1 KB/s", false),
	toxic("consumer-postgres", "200 ms", false),
	toxic("consumer-postgres", "black hole", false),
	toxic("consumer-postgres", "cut in mid-frame", false),
	toxic("consumer-postgres", "1 KB/s", false),
	toxic("consumer-rabbitmq", "200 ms", false),
	toxic("consumer-rabbitmq", "black hole", true),
	toxic("consumer-rabbitmq", "cut in mid-frame", false),
	toxic("consumer-rabbitmq", "1 KB/s", false),
	toxic("consumer-redis", "200 ms", false),
	toxic("consumer-redis", "black hole", false),
	toxic("consumer-redis", "cut in mid-frame", false),
	toxic("consumer-redis", "1 KB/s", false),
	toxic("consumer-smtp", "200 ms", false),
	toxic("consumer-smtp", "black hole", false),
	toxic("consumer-smtp", "cut in mid-frame", false),
	toxic("consumer-smtp", "1 KB/s", true),

	{name: "rabbitmq: memory alarm", begin: alarm, end: told(calm)},
	{name: "rabbitmq: queue deleted", short: true, begin: deleteQueue},
	{name: "rabbitmq: queue full", ambiguous: true, begin: fillQueue, end: told(emptyQueue)},
	{name: "rabbitmq: permission refused", begin: permit("^$"), end: told(permitAgain)},
	{name: "rabbitmq: virtual host gone", begin: deleteVirtualHost, end: told(createVirtualHost)},

	smtp("refuses us (421)", 0, smtptest.At(smtptest.Greeting).Reply(421)),
	smtp("refuses us (554)", 40*time.Second, smtptest.At(smtptest.Greeting).Reply(554)),
	smtp("refuses the sender", 40*time.Second, smtptest.At(smtptest.Mail).Reply(550)),
	{name: "smtp: refuses recipients", begin: refuseRecipients, end: welcome},
	smtp("storage exceeded (452)", 0, smtptest.At(smtptest.EndOfData).Reply(452)),
	smtp("cut before the dot", 0, smtptest.At(smtptest.Data).Cut()),
	cutAfterDot,
	{name: "smtp: greylisting", begin: greylist, end: behave},
	smtp("two mails per connection", 0, smtptest.At(smtptest.Mail).Reply(421).AfterMails(2)),

	{name: "poison: 1000 messages", short: true, begin: poison, end: discardPoison},
	{name: "poison: neighbours timed", begin: neighbours},
	{name: "clocks ten minutes ahead", prepare: buildAhead, begin: moveClock, end: setClock},
	{name: "apis and consumers restarted in turn", short: true, begin: restartInTurn},
}

// toxic spoils a link.
func toxic(way, what string, short bool) *fault {
	var spoiled *link
	return &fault{
		name:  fmt.Sprintf("%s: %s", way, what),
		short: short,
		// What a consumer hears of the mail server, or writes to the ledger, may be lost on the way.
		ambiguous: way == "consumer-smtp" || way == "consumer-postgres",
		begin: func(_ context.Context, r *run, s *section) error {
			spoiled = r.links.byName[way]
			bytes := 1 + r.draw(4000)
			if strings.HasPrefix(what, "cut") {
				s.notes = append(s.notes, fmt.Sprintf("after %d bytes", bytes))
			}
			return spoiled.spoil(what, bytes)
		},
		end: func(ctx context.Context, _ *run) error { spoiled.heal(ctx); return nil },
	}
}

// told heals, and demands that the health of a process, or its count of refused events, spoke of the fault.
func told(heal func(context.Context, *run) error) func(context.Context, *run) error {
	return func(ctx context.Context, r *run) error {
		silent := true
		for _, p := range r.Processes() {
			_, health, err := p.Get(ctx, "/health")
			if err == nil && !strings.Contains(health, `"status":"healthy","version"`) {
				silent = false
			}
			_, metrics, err := p.Get(ctx, "/metrics")
			if err == nil && strings.Contains(metrics, `error_type="refused"`) { // of event_publish_failures_total
				silent = false
			}
		}
		if err := heal(ctx, r); err != nil {
			return err
		}
		if silent {
			return fmt.Errorf("no process said in /health or /metrics that anything was wrong")
		}
		return nil
	}
}

// draw returns a number below n, by lot.
func (r *run) draw(n int) int {
	r.crowd.mu.Lock()
	defer r.crowd.mu.Unlock()
	return r.random.IntN(n)
}

// unwell reports whether a status is that of a server in trouble.
func unwell(status int) bool { return status >= http.StatusInternalServerError }

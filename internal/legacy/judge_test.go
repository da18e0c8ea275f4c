package legacy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/heartbeat"
)

var now = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func process(role string, phase Phase, ago time.Duration) heartbeat.Process {
	return heartbeat.Process{
		ID: role + " in " + string(phase), Role: role, Version: "2.0", Note: string(phase), SeenAt: now.Add(-ago),
	}
}

func readers(kinds ...string) []eventmq.Reader {
	out := []eventmq.Reader{}
	for _, k := range kinds {
		out = append(out, eventmq.Reader{Tag: k, Ours: k == event.Service, Client: k + " client", Connection: "10.0.0.9:1"})
	}
	return out
}

func queue(name string, r ...string) eventmq.QueueState {
	return eventmq.QueueState{
		Name: name, Exists: true, Unacked: new(0), Consumers: len(r), Readers: readers(r...), Arrived: new(0),
	}
}

var (
	ourWriter = eventmq.Writer{Ours: true, Client: "identity-api-publisher", Connection: "10.0.0.8:1"}
	oldWriter = eventmq.Writer{Client: "old api", Connection: "10.0.0.7:1"}
)

// calm returns facts with nothing unusual: every queue is there, empty and read by ours, and both roles live in phase.
func calm(phase Phase) Facts {
	ladder := func(name string) Ladder {
		return Ladder{
			Main: queue(name, event.Service), Dead: queue(name + ".dead"),
			Retry: []eventmq.QueueState{queue(name + ".retry.1s"), queue(name + ".retry.5s")},
		}
	}
	return Facts{
		At:        now,
		Topic:     eventmq.ExchangeState{Name: event.Exchange, Exists: true, Type: "topic", Durable: new(true)},
		Fanout:    eventmq.ExchangeState{Name: Exchange, Exists: true, Type: "fanout", Durable: new(true), Writers: []eventmq.Writer{ourWriter}},
		OfTopic:   []eventmq.Binding{{Source: event.Exchange, Destination: "identity.email", Kind: "queue", Key: "email.#"}},
		Old:       queue(Queue, event.Service),
		Email:     ladder("identity.email"),
		Legacy:    ladder("identity.legacy"),
		Bindings:  []eventmq.Binding{{Source: Exchange, Destination: Queue, Kind: "queue"}},
		Processes: []heartbeat.Process{process("api", phase, time.Second), process("consumer", phase, time.Second)},
		Shadows:   Shadows{Since: now.Add(-time.Hour), Matched: 10},
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	t.Run("each step is safe when nothing speaks against it", func(t *testing.T) {
		t.Parallel()
		for _, step := range []struct {
			from, to Phase
			warnings []string
		}{
			{Prepare, Prepare, nil},
			{Prepare, Dual, []string{"make sure that none serves any more"}},
			{Dual, Prepare, nil},
			{Dual, Dual, nil},
			{Dual, Cutover, nil},
			{Cutover, Prepare, nil},
			{Cutover, Dual, nil},
			{Cutover, Complete, nil},
			{Complete, Prepare, []string{"cannot log in on binaries of the previous release"}},
			{Complete, Dual, []string{"cannot log in on binaries of the previous release"}},
			{Complete, Cutover, []string{"cannot log in on binaries of the previous release"}},
			{Complete, Complete, nil},
		} {
			v := Judge(calm(step.from), step.to)
			require.Empty(t, v.Blockers, "%s to %s", step.from, step.to)
			require.Empty(t, v.Unknown, "%s to %s", step.from, step.to)
			requireTexts(t, step.warnings, v.Warnings)
			require.True(t, v.Safe)
		}
	})
	t.Run("no step without what topic copies need", func(t *testing.T) {
		t.Parallel()
		for name, c := range map[string]struct {
			change  func(*Facts)
			blocker string
		}{
			"the exchange is something else": {
				change:  func(f *Facts) { f.Topic.Type, f.Topic.Durable = "fanout", nil },
				blocker: "smap.events is not a durable topic exchange",
			},
			"the exchange is gone with a restart": {
				change:  func(f *Facts) { f.Topic.Durable = new(false) },
				blocker: "smap.events is not a durable topic exchange",
			},
			"no consumer process": {
				change:  func(f *Facts) { f.Processes = f.Processes[:1] },
				blocker: "no consumer process of ours is alive",
			},
			"a consumer process that was killed": {
				change:  func(f *Facts) { f.Processes[1].SeenAt = now.Add(-heartbeat.AliveFor - time.Second) },
				blocker: "no consumer process of ours is alive",
			},
			"a consumer process that has stopped": {
				change:  func(f *Facts) { f.Processes[1].StoppedAt = new(now) },
				blocker: "no consumer process of ours is alive",
			},
			"nobody reads": {
				change:  func(f *Facts) { f.Email.Main = queue("identity.email") },
				blocker: "nobody reads identity.email",
			},
			"the queue is not bound": {
				change:  func(f *Facts) { f.OfTopic[0].Destination = "audit" },
				blocker: "identity.email is not bound to smap.events with email.#",
			},
			"the queue is bound otherwise": {
				change:  func(f *Facts) { f.OfTopic[0].Key = "email.password_reset.requested" },
				blocker: "identity.email is not bound to smap.events with email.#",
			},
			"unknown: what is bound": {change: func(f *Facts) { f.OfTopic = nil }},
			"the queue does not exist": {
				change:  func(f *Facts) { f.Email.Main = eventmq.QueueState{Name: "identity.email", Readers: readers()} },
				blocker: "nobody reads identity.email",
			},
			"only others read": {
				change:  func(f *Facts) { f.Email.Main = queue("identity.email", "ctag-1"); f.Email.Main.Consumers = 1 },
				blocker: "none of the readers of identity.email is ours",
			},
			"others read as well": {
				change:  func(f *Facts) { f.Email.Main = queue("identity.email", event.Service, "ctag-1") },
				blocker: "identity.email is read by another program as well (ctag-1 client at 10.0.0.9:1)",
			},
			"who reads is unknown": {change: func(f *Facts) { f.Email.Main.Readers = nil }},
			"a backlog":            {change: func(f *Facts) { f.Email.Main.Ready, f.Email.Retry[1].Ready = 60, 41 }},
			"dead letters":         {change: func(f *Facts) { f.Email.Dead.Ready, f.Legacy.Dead.Ready = 2, 3 }},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for from, to := range map[Phase]Phase{Dual: Prepare, Cutover: Dual, Complete: Complete} {
					f := calm(from)
					c.change(&f)
					v := Judge(f, to)
					if c.blocker == "" {
						require.True(t, v.Safe, v)
					} else {
						require.False(t, v.Safe)
						require.Condition(t, func() bool {
							return slices.ContainsFunc(v.Blockers, func(b string) bool { return strings.Contains(b, c.blocker) })
						}, "to %s: %q", to, v.Blockers)
					}
				}
			})
		}
	})
	t.Run("legacy copies need their path", func(t *testing.T) {
		t.Parallel()
		for name, c := range map[string]struct {
			change  func(*Facts)
			blocker []string
		}{
			"only old consumers": {change: func(f *Facts) { f.Old = queue(Queue, "ctag-1") }},
			"old ones and ours":  {change: func(f *Facts) { f.Old = queue(Queue, "ctag-1", event.Service) }},
			"nobody": {
				change:  func(f *Facts) { f.Old = queue(Queue) },
				blocker: []string{"nobody reads smtp_send_email"},
			},
			"somebody, whoever it is": {change: func(f *Facts) { f.Old.Readers = nil }},
			"nothing there yet": {
				change: func(f *Facts) {
					f.Old, f.Fanout = eventmq.QueueState{Name: Queue}, eventmq.ExchangeState{Name: Exchange}
					f.Bindings = []eventmq.Binding{}
				},
			},
			"an exchange of another kind": {
				change:  func(f *Facts) { f.Fanout.Type = "direct" },
				blocker: []string{"is not a durable fanout exchange"},
			},
			"an exchange that is not durable": {
				change:  func(f *Facts) { f.Fanout.Durable = new(false) },
				blocker: []string{"is not a durable fanout exchange"},
			},
			"an exchange of which only the name is known": {
				change: func(f *Facts) { f.Fanout.Type, f.Fanout.Durable, f.Bindings = "", nil, nil },
			},
			"the queue is not bound": {change: func(f *Facts) { f.Bindings = []eventmq.Binding{} }},
			"a reader that hoards":   {change: func(f *Facts) { f.Old.Ready, f.Old.Unacked = 1, new(100) }},
			"another team is bound": {
				change: func(f *Facts) {
					f.Bindings = append(f.Bindings, eventmq.Binding{Source: Exchange, Destination: "audit", Kind: "queue"})
				},
			},
			"no comparison":     {change: func(f *Facts) { f.Shadows = Shadows{} }},
			"rows and messages": {change: func(f *Facts) { f.Waiting, f.Old.Ready, f.Legacy.Main.Ready = 5, 5, 5 }},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for _, to := range []Phase{Prepare, Dual} {
					f := calm(Cutover)
					c.change(&f)
					v := Judge(f, to)
					requireTexts(t, c.blocker, v.Blockers)
					require.Empty(t, v.Warnings)
					require.Empty(t, v.Unknown)
					require.Equal(t, len(c.blocker) == 0, v.Safe)
				}
			})
		}
	})
	// A copy that another team's queue gets alone is a mail that is lost.
	t.Run("no step without the old path while copies go there", func(t *testing.T) {
		t.Parallel()
		for name, c := range map[string]struct {
			change  func(*Facts)
			blocker string
		}{
			"the queue is gone": {
				func(f *Facts) { f.Old, f.Bindings = eventmq.QueueState{Name: Queue}, []eventmq.Binding{} },
				"smtp_send_email does not exist, although 1 living processes are in prepare or dual",
			},
			"its binding is gone": {
				func(f *Facts) {
					f.Bindings = []eventmq.Binding{{Source: Exchange, Destination: "audit", Kind: "queue"}}
				},
				"smtp_send_email is not bound to smtp_send_email_exc, although 1 living processes are in prepare or dual",
			},
		} {
			for _, writer := range []heartbeat.Process{process("api", Prepare, 0), process("consumer", Dual, 0)} {
				for _, to := range Phases {
					f := calm(Complete)
					f.Processes = append(f.Processes, writer)
					c.change(&f)
					v := Judge(f, to)
					require.False(t, v.Safe)
					require.Condition(t, func() bool {
						return slices.ContainsFunc(v.Blockers, func(b string) bool { return strings.HasPrefix(b, c.blocker) })
					}, "%s, %s to %s: %q", name, writer.ID, to, v.Blockers)
				}
			}
			f := calm(Complete)
			f.Processes = append(f.Processes, process("api", Dual, Recently))
			c.change(&f)
			for _, text := range Judge(f, Complete).Blockers {
				require.NotContains(t, text, "smtp_send_email is not bound")
				require.NotContains(t, text, "smtp_send_email does not exist")
			}
		}
	})
	t.Run("dual with no api yet", func(t *testing.T) {
		t.Parallel()
		f := calm(Dual)
		f.Processes = f.Processes[1:]
		requireTexts(t, []string{"make sure that none serves any more"}, Judge(f, Dual).Warnings)
	})
	t.Run("cutover", func(t *testing.T) {
		t.Parallel()
		for name, c := range map[string]struct {
			from                       Phase
			change                     func(*Facts)
			blocker, unknown, warnings []string
		}{
			"another team's queue": {
				change: func(f *Facts) {
					f.Bindings = append(f.Bindings, eventmq.Binding{Source: Exchange, Destination: "audit", Kind: "queue"})
				},
				blocker: []string{"queue audit of another team is still bound to smtp_send_email_exc: its owner must delete the binding"},
			},
			"another team's exchange": {
				change: func(f *Facts) {
					f.Bindings = append(f.Bindings, eventmq.Binding{Source: Exchange, Destination: Queue, Kind: "exchange"})
				},
				blocker: []string{"exchange smtp_send_email of another team is still bound"},
			},
			"an exchange that feeds the fanout": {
				change: func(f *Facts) {
					f.Bindings = append(f.Bindings, eventmq.Binding{Source: "theirs", Destination: Exchange, Kind: "exchange"})
				},
			},
			"unknown: who is bound": {
				change:  func(f *Facts) { f.Bindings = nil },
				unknown: []string{"whether another team is bound to smtp_send_email_exc"},
			},
			"nothing was compared": {
				change:  func(f *Facts) { f.Shadows.Matched = 0 },
				blocker: []string{"no mail has been compared since 2026-03-01 02:00"},
			},
			"something differs": {
				change: func(f *Facts) {
					f.Shadows.Mismatched, f.Shadows.Fields = 3, map[string]int{"body": 1, "subject": 2, "recipient": 1}
				},
				blocker: []string{"3 of 13 mails compared since 2026-03-01 02:00 would have differed: compare versions and keys"},
			},
			"only differences": {
				change: func(f *Facts) {
					f.Shadows = Shadows{Since: now, Mismatched: 1, Fields: map[string]int{"body": 1}}
				},
				blocker: []string{"1 of 1 mails"},
			},
			"one api is behind": {change: func(f *Facts) { f.Processes = append(f.Processes, process("api", Prepare, 0)) }},
			"one api was behind": {
				change: func(f *Facts) { f.Processes = append(f.Processes, process("api", Prepare, time.Minute)) },
			},
			"a consumer's phase does not matter": {
				change: func(f *Facts) { f.Processes = append(f.Processes, process("consumer", Prepare, 0)) },
			},
			"no api lives": {
				change:  func(f *Facts) { f.Processes = f.Processes[1:]; f.Shadows.Matched = 0 },
				blocker: []string{"no mail has been compared"},
			},
			"nobody reads late copies": {
				change:  func(f *Facts) { f.Old = queue(Queue) },
				blocker: []string{"nobody reads smtp_send_email"},
			},
			"no old queue": {
				change:  func(f *Facts) { f.Old = eventmq.QueueState{Name: Queue} },
				blocker: []string{"smtp_send_email does not exist, although 2 living processes"},
			},
			"no old queue, and nobody who writes there": {
				from: Cutover, change: func(f *Facts) { f.Old = eventmq.QueueState{Name: Queue} },
			},
			"one api is there already": {
				change:  func(f *Facts) { f.Processes = append(f.Processes, process("api", Cutover, 0)); f.Bindings = nil },
				unknown: []string{"whether another team is bound"},
			},
			"back from complete nothing is compared": {
				from: Complete,
				change: func(f *Facts) {
					f.Bindings, f.Shadows, f.Old = nil, Shadows{Mismatched: 1}, eventmq.QueueState{Name: Queue}
				},
				warnings: []string{"cannot log in on binaries of the previous release"},
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := calm(Dual)
				if c.from != "" {
					f = calm(c.from)
				}
				c.change(&f)
				v := Judge(f, Cutover)
				requireTexts(t, c.blocker, v.Blockers)
				requireTexts(t, c.unknown, v.Unknown)
				requireTexts(t, c.warnings, v.Warnings)
				require.Equal(t, len(c.blocker)+len(c.unknown) == 0, v.Safe)
			})
		}
	})
	t.Run("complete needs the queue of old failures empty", func(t *testing.T) {
		t.Parallel()
		for name, c := range map[string]struct {
			change           func(*Facts)
			blocker, unknown []string
		}{
			"messages":       {func(f *Facts) { f.Legacy.Main.Ready = 1 }, []string{"identity.legacy holds 1 messages"}, nil},
			"unacknowledged": {func(f *Facts) { f.Legacy.Main.Unacked = new(2) }, []string{"identity.legacy holds 2 messages"}, nil},
			"unknown":        {func(f *Facts) { f.Legacy.Main.Unacked = nil }, nil, []string{"whether a reader of identity.legacy holds"}},
			"waiting":        {func(f *Facts) { f.Legacy.Retry[1].Ready = 3 }, []string{"identity.legacy.retry.5s holds 3 messages"}, nil},
			"never existed": {func(f *Facts) {
				f.Legacy = Ladder{Main: eventmq.QueueState{Name: "identity.legacy"}, Dead: eventmq.QueueState{Name: "identity.legacy.dead"}}
			}, nil, nil},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := calm(Cutover)
				c.change(&f)
				v := Judge(f, Complete)
				requireTexts(t, c.blocker, v.Blockers)
				requireTexts(t, c.unknown, v.Unknown)
				require.Equal(t, len(c.blocker)+len(c.unknown) == 0, v.Safe)

				f = calm(Complete)
				c.change(&f)
				require.True(t, JudgeCleanup(f).Safe, "the cleanup does not touch them")
			})
		}
	})
}

// requireTexts: one text of got for each of want, in any order, and no other.
func requireTexts(t *testing.T, want, got []string) {
	t.Helper()
	require.Len(t, got, len(want))
	for _, part := range want {
		require.Condition(t, func() bool {
			return slices.ContainsFunc(got, func(text string) bool { return strings.Contains(text, part) })
		}, "none of %q says %q", got, part)
	}
}

// leaving are the facts that speak against complete and against the cleanup alike.
var leaving = map[string]struct {
	change           func(*Facts)
	blocker, unknown []string
}{
	"somebody is in dual": {
		change:  func(f *Facts) { f.Processes = append(f.Processes, process("api", Dual, 0)) },
		blocker: []string{"1 processes were in dual less than 5 minutes ago: take living ones to cutover first"},
	},
	"somebody is in prepare, somebody in dual": {
		change: func(f *Facts) {
			f.Processes = append(f.Processes, process("api", Prepare, 0), process("consumer", Dual, 0))
		},
		blocker: []string{"1 processes were in prepare less than 5 minutes ago: take living ones to dual", "1 processes were in dual"},
	},
	"somebody was in dual just now": {
		change:  func(f *Facts) { f.Processes = append(f.Processes, process("api", Dual, Recently-time.Second)) },
		blocker: []string{"1 processes were in dual less than 5 minutes ago"},
	},
	"somebody has left dual in order": {
		change: func(f *Facts) {
			p := process("api", Prepare, time.Second)
			p.StoppedAt = new(p.SeenAt)
			f.Processes = append(f.Processes, p)
		},
		blocker: []string{"1 processes were in prepare less than 5 minutes ago"},
	},
	"somebody was in dual long ago": {
		change: func(f *Facts) { f.Processes = append(f.Processes, process("api", Dual, Recently)) },
	},
	"rows in the outbox": {
		change:  func(f *Facts) { f.Waiting = 2 },
		blocker: []string{"2 rows for smtp_send_email_exc wait in the outbox"},
	},
	"messages": {
		change:  func(f *Facts) { f.Old.Ready = 4 },
		blocker: []string{"smtp_send_email holds 4 messages, 0 of them unacknowledged"},
	},
	"unacknowledged messages": {
		change:  func(f *Facts) { f.Old.Unacked = new(1) },
		blocker: []string{"smtp_send_email holds 1 messages, 1 of them unacknowledged"},
	},
	"unknown: what is unacknowledged": {
		change:  func(f *Facts) { f.Old.Unacked = nil },
		unknown: []string{"whether a reader of smtp_send_email holds messages"},
	},
	"messages, and nobody can tell what is unacknowledged": {
		change:  func(f *Facts) { f.Old.Ready, f.Old.Unacked = 1, nil },
		blocker: []string{"smtp_send_email holds 1 messages"},
	},
	"an old consumer": {
		change:  func(f *Facts) { f.Old = queue(Queue, "ctag-1", event.Service) },
		blocker: []string{"smtp_send_email is still read by consumers of the previous release (ctag-1 client at 10.0.0.9:1)"},
	},
	"nobody reads": {change: func(f *Facts) { f.Old = queue(Queue) }},
	"unknown: who reads": {
		change:  func(f *Facts) { f.Old.Readers = nil },
		unknown: []string{"whose the 1 consumers of smtp_send_email are"},
	},
	"somebody still publishes": {
		change:  func(f *Facts) { f.Old.Arrived = new(7) },
		blocker: []string{"7 messages came to smtp_send_email in the last 5 minutes"},
	},
	"an old api is connected": {
		change:  func(f *Facts) { f.Fanout.Writers = append(f.Fanout.Writers, oldWriter) },
		blocker: []string{"another program is connected that has published to smtp_send_email_exc (old api at 10.0.0.7:1)"},
	},
	"unknown: who is connected": {change: func(f *Facts) { f.Fanout.Writers = nil }},
	"nobody has published":      {change: func(f *Facts) { f.Fanout.Writers = []eventmq.Writer{} }},
	"unknown: whether somebody publishes": {
		change:  func(f *Facts) { f.Old.Arrived = nil },
		unknown: []string{"whether messages still arrive in smtp_send_email"},
	},
	"another team's queue": {
		change: func(f *Facts) {
			f.Bindings = append(f.Bindings, eventmq.Binding{Source: Exchange, Destination: "audit", Kind: "queue"})
		},
		blocker: []string{"queue audit of another team is still bound"},
	},
	"unknown: who is bound": {
		change:  func(f *Facts) { f.Bindings = nil },
		unknown: []string{"whether another team is bound"},
	},
	"all gone": {
		change: func(f *Facts) {
			f.Old, f.Fanout = eventmq.QueueState{Name: Queue}, eventmq.ExchangeState{Name: Exchange}
			f.Bindings = []eventmq.Binding{}
		},
	},
}

func TestJudgeCleanup(t *testing.T) {
	t.Parallel()
	t.Run("is refused while a process would declare it again", func(t *testing.T) {
		t.Parallel()
		v := JudgeCleanup(calm(Cutover))
		requireTexts(t, []string{"2 living processes are in cutover and declare both again: take them to complete first"}, v.Blockers)
		require.False(t, v.Safe)

		gone := calm(Cutover)
		for i := range gone.Processes {
			gone.Processes[i].StoppedAt = new(now)
		}
		require.True(t, JudgeCleanup(gone).Safe, "a stopped process connects no more")
	})
	t.Run("is refused while an exchange feeds the old one", func(t *testing.T) {
		t.Parallel()
		f := calm(Complete)
		f.Bindings = append(f.Bindings, eventmq.Binding{Source: "theirs", Destination: Exchange, Kind: "exchange"})
		requireTexts(t, []string{"exchange theirs feeds smtp_send_email_exc"}, JudgeCleanup(f).Blockers)
	})
	t.Run("needs no consumer of ours", func(t *testing.T) {
		t.Parallel()
		f := calm(Complete)
		f.Processes, f.Email, f.Shadows = nil, Ladder{}, Shadows{}
		require.True(t, JudgeCleanup(f).Safe)
	})
	t.Run("needs an end of legacy copies, as complete does", func(t *testing.T) {
		t.Parallel()
		for name, c := range leaving {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := calm(Complete)
				c.change(&f)
				for _, v := range []Verdict{Judge(f, Complete), JudgeCleanup(f)} {
					requireTexts(t, c.blocker, v.Blockers)
					requireTexts(t, c.unknown, v.Unknown)
					require.Equal(t, len(c.blocker)+len(c.unknown) == 0, v.Safe)
				}
			})
		}
	})
}

func TestNext(t *testing.T) {
	t.Parallel()
	t.Run("is that of the hindmost living api", func(t *testing.T) {
		t.Parallel()
		for name, c := range map[string]struct {
			processes []heartbeat.Process
			next      Phase
		}{
			"nobody":               {nil, Prepare},
			"only consumers":       {[]heartbeat.Process{process("consumer", Dual, 0)}, Prepare},
			"a dead one":           {[]heartbeat.Process{process("api", Dual, time.Hour)}, Prepare},
			"one":                  {[]heartbeat.Process{process("api", Dual, 0)}, Cutover},
			"several":              {[]heartbeat.Process{process("api", Cutover, 0), process("api", Prepare, 0), process("api", Dual, 0)}, Dual},
			"beside a dead one":    {[]heartbeat.Process{process("api", Prepare, time.Hour), process("api", Cutover, 0)}, Complete},
			"beside a consumer":    {[]heartbeat.Process{process("consumer", Prepare, 0), process("api", Complete, 0)}, Complete},
			"of a release to come": {[]heartbeat.Process{process("api", "beyond", 0), process("api", Dual, 0)}, Prepare},
		} {
			require.Equal(t, c.next, Facts{At: now, Processes: c.processes}.Next(), name)
		}
	})
}

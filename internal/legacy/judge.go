package legacy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/smap-platform/identity/internal/event"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
)

// Roles that matter here, as heartbeats name them.
const (
	roleAPI      = "api"
	roleConsumer = "consumer"
)

// emailKeys is what our queue for mails is bound to the topic exchange with.
const emailKeys = "email.#"

// Verdict says whether a step can be taken. Blockers are facts against it: taken all the same, mails would be lost or
// sent twice. Unknown are facts it needs and that are not known. With either it is not safe. Warnings are what no fact
// can show.
type Verdict struct {
	Safe     bool     `json:"safe"`
	Blockers []string `json:"blockers"`
	Unknown  []string `json:"unknown"`
	Warnings []string `json:"warnings"`
}

// judge collects a Verdict on facts.
type judge struct {
	Facts
	Verdict
}

// Judge returns whether the processes can be taken to phase to, forwards or backwards.
func Judge(f Facts, to Phase) Verdict {
	j := newJudge(f)
	j.topicPath()
	j.oldPath(to)
	lowest, some := f.lowest()
	switch {
	case to == Dual && (!some || lowest == Prepare):
		j.warn(
			"codes made in %s are refused by api pods of the previous release: make sure that none serves any more", Dual)
	case to == Cutover && (!some || lowest.Fanout()):
		j.foreignBindings()
		j.comparison()
	case to == Complete:
		j.endOfCopies()
		j.foreignBindings()
		j.empty(j.Legacy.Main)
		for _, q := range j.Legacy.Retry {
			j.block(q.Ready > 0, "%s holds %d messages: wait until our consumers have sent them", q.Name, q.Ready)
		}
	}
	if to != Complete && f.alive(roleAPI, func(p Phase) bool { return p == Complete }) > 0 {
		j.warn(
			"people whose password was set or rehashed in %s cannot log in on binaries of the previous release", Complete)
	}
	return j.verdict()
}

// JudgeCleanup returns whether queue and exchange of the previous release can be deleted.
func JudgeCleanup(f Facts) Verdict {
	j := newJudge(f)
	j.endOfCopies()
	j.foreignBindings()
	for _, b := range f.Bindings {
		j.block(b.Kind == "exchange" && b.Destination == Exchange,
			"exchange %s feeds %s: its owner must delete the binding", b.Source, Exchange)
	}
	n := f.alive("", func(p Phase) bool { return p.Declares() && !p.Fanout() })
	j.block(n > 0, "%d living processes are in %s and declare both again: take them to %s first", n, Cutover, Complete)
	return j.verdict()
}

func newJudge(f Facts) *judge {
	return &judge{f, Verdict{Blockers: []string{}, Unknown: []string{}, Warnings: []string{}}}
}

func (j *judge) block(when bool, format string, args ...any) {
	if when {
		j.Blockers = append(j.Blockers, fmt.Sprintf(format, args...))
	}
}

// unknown names a fact that only the management API knows.
func (j *judge) unknown(when bool, format string, args ...any) {
	if when {
		j.Verdict.Unknown = append(j.Verdict.Unknown, fmt.Sprintf(format, args...)+": only the management API knows (RABBITMQ_MANAGEMENT_URL)")
	}
}

func (j *judge) warn(format string, args ...any) {
	j.Warnings = append(j.Warnings, fmt.Sprintf(format, args...))
}

func (j *judge) verdict() Verdict {
	j.Safe = len(j.Blockers)+len(j.Verdict.Unknown) == 0
	return j.Verdict
}

// topicPath: topic copies can appear at any time, so they need their exchange and a reader of ours in every phase.
func (j *judge) topicPath() {
	topic, email := j.Topic, j.Email.Main
	j.block(!topic.Exists || topic.Type != "topic" || topic.Durable == nil || !*topic.Durable,
		"%s is not a durable topic exchange: delete it and restart our processes", event.Exchange)
	j.block(j.alive(roleConsumer, anyPhase) == 0,
		"no consumer process of ours is alive: they come first and leave last")
	j.block(j.OfTopic != nil && !slices.ContainsFunc(j.OfTopic, func(b eventmq.Binding) bool {
		return b.Kind == "queue" && b.Destination == email.Name && b.Key == emailKeys
	}), "%s is not bound to %s with %s: restart one of our processes, which binds it", email.Name, event.Exchange, emailKeys)
	j.block(email.Consumers == 0, "nobody reads %s: look at /ready and the log of our consumers", email.Name)
	j.block(email.Consumers > 0 && email.Readers != nil && email.Ours() == 0,
		"none of the readers of %s is ours", email.Name)
	foreign := email.Foreign()
	j.block(len(foreign) > 0, "%s is read by another program as well (%s): stop it", email.Name, names(foreign))
}

// oldPath: as long as a legacy copy can be committed, and one that has been has not been sent, it needs its queue, the
// binding and a reader.
func (j *judge) oldPath(to Phase) {
	n := j.alive("", Phase.Fanout)
	const remedy = "although %d living processes are in " + string(Prepare+" or "+Dual) + ": restart one, which declares it"
	j.block(!j.Old.Exists && n > 0, "%s does not exist, "+remedy, Queue, n)
	bound := slices.Contains(j.Bindings, eventmq.Binding{Source: Exchange, Destination: Queue, Kind: "queue"})
	j.block(j.Old.Exists && j.Bindings != nil && !bound && n > 0, "%s is not bound to %s, "+remedy, Queue, Exchange, n)
	e := j.Fanout
	j.block(to.Fanout() && e.Exists && (e.Type != "" && e.Type != amqpFanout || e.Durable != nil && !*e.Durable),
		"%s is not a durable fanout exchange, so ours cannot declare it: its owner must delete it", Exchange)
	j.block(to != Complete && j.Old.Exists && j.Old.Consumers == 0,
		"nobody reads %s, where the copies that send are: ours do within a minute, unless EVENTS_CONSUME_LEGACY=off", Queue)
}

const amqpFanout = "fanout"

// comparison: from cutover on the topic copies send, so they have to have been seen right.
func (j *judge) comparison() {
	s, since := j.Shadows, j.Shadows.Since.UTC().Format("2006-01-02 15:04")
	j.block(s.Mismatched > 0,
		"%d of %d mails compared since %s would have differed: compare versions and keys, then count anew with --since",
		s.Mismatched, s.Mismatched+s.Matched, since)
	j.block(s.Mismatched+s.Matched == 0,
		"no mail has been compared since %s: wait until one has been sent in %s", since, Dual)
}

// endOfCopies: no legacy copy is under way, and nobody but ours is left to write or read one.
func (j *judge) endOfCopies() {
	for _, phase := range []Phase{Prepare, Dual} {
		n := 0
		for _, p := range j.Processes {
			if Phase(p.Note) == phase && j.At.Sub(p.SeenAt) < Recently {
				n++
			}
		}
		j.block(n > 0,
			"%d processes were in %s less than %d minutes ago: take living ones to %s first, then wait for so long",
			n, phase, int(Recently.Minutes()), phase.Next())
	}
	j.block(j.Waiting > 0,
		"%d rows for %s wait in the outbox: wait, or run `consumer outbox retry`", j.Waiting, Exchange)
	// That no writer is named proves nothing: the broker names them only where management.rates_mode is detailed.
	writers := j.Fanout.ForeignWriters()
	j.block(len(writers) > 0,
		"another program is connected that has published to %s (%s): stop it", Exchange, names(writers))
	if !j.Old.Exists {
		return
	}
	j.empty(j.Old)
	foreign := j.Old.Foreign()
	j.unknown(j.Old.Readers == nil, "whose the %d consumers of %s are", j.Old.Consumers, Queue)
	j.block(len(foreign) > 0,
		"%s is still read by consumers of the previous release (%s): scale them down", Queue, names(foreign))
	j.unknown(j.Old.Arrived == nil, "whether messages still arrive in %s", Queue)
	if n := j.Old.Arrived; n != nil {
		j.block(*n > 0,
			"%d messages came to %s in the last %d minutes: if none of ours was in %s or %s, an old api still runs; stop it",
			*n, Queue, int(Recently.Minutes()), Prepare, Dual)
	}
}

// foreignBindings: another team that is bound beside the old queue would miss the mails.
func (j *judge) foreignBindings() {
	j.unknown(j.Bindings == nil, "whether another team is bound to %s", Exchange)
	for _, b := range j.Bindings {
		j.block(b.Source == Exchange && (b.Kind != "queue" || b.Destination != Queue),
			"%s %s of another team is still bound to %s: its owner must delete the binding", b.Kind, b.Destination, Exchange)
	}
}

// empty: nothing lies in q, and no reader holds anything of it.
func (j *judge) empty(q eventmq.QueueState) {
	held := 0
	if q.Unacked != nil {
		held = *q.Unacked
	}
	j.block(q.Ready+held > 0,
		"%s holds %d messages, %d of them unacknowledged: wait until they are sent", q.Name, q.Ready+held, held)
	j.unknown(q.Exists && q.Unacked == nil && q.Ready == 0, "whether a reader of %s holds messages", q.Name)
}

// Next returns the phase after the one that the hindmost living api process is in; Prepare when none is alive.
func (f Facts) Next() Phase {
	if lowest, some := f.lowest(); some {
		return lowest.Next()
	}
	return Prepare
}

// Phase returns that of the hindmost living api process; empty: none lives.
func (f Facts) Phase() Phase {
	lowest, _ := f.lowest()
	return lowest
}

// lowest returns the first phase, in their order, that a living api process is in.
func (f Facts) lowest() (lowest Phase, some bool) {
	for _, p := range f.Processes {
		if p.Role != roleAPI || !p.Alive(f.At) {
			continue
		}
		if phase := Phase(p.Note); !some || slices.Index(Phases, phase) < slices.Index(Phases, lowest) {
			lowest, some = phase, true
		}
	}
	return lowest, some
}

// alive counts the living processes of role, of any with "", in a phase that is so.
func (f Facts) alive(role string, so func(Phase) bool) (n int) {
	for _, p := range f.Processes {
		if p.Alive(f.At) && (role == "" || p.Role == role) && so(Phase(p.Note)) {
			n++
		}
	}
	return n
}

func anyPhase(Phase) bool { return true }

// names lists readers or writers.
func names[T interface{ Name() string }](clients []T) string {
	out := make([]string, len(clients))
	for i, c := range clients {
		out[i] = c.Name()
	}
	return strings.Join(out, ", ")
}

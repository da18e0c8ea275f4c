package fanout

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/smap-platform/identity/internal/event"
)

// worthTelling is how many waiting messages are more than what is always under way.
const worthTelling = 100

// Verdict says whether a step can be taken. Blockers are facts against it, Unknown are facts it needs and nobody could
// tell; with either it is not safe. Warnings are what to know before it. Each says what to do.
type Verdict struct {
	Safe     bool     `json:"safe"`
	Blockers []string `json:"blockers"`
	Unknown  []string `json:"unknown"`
	Warnings []string `json:"warnings"`
}

// Judge says whether the processes can be taken to phase to, forwards or backwards, with these facts (docs/adr/0006).
func Judge(f Facts, to Phase) Verdict {
	j := newJudge(f)
	j.everyStep()
	j.oldPath(to)
	switch to {
	case Prepare, Dual:
		j.fanoutCopies(to)
	case Cutover:
		j.cutover()
	case Complete:
		j.complete()
	}
	if to != Complete && f.living(func(p Process) bool { return p.Role == roleAPI && p.Phase == Complete }) > 0 {
		j.warn("people whose password was set or rehashed since %s cannot log in on binaries of the previous release: "+
			"do not go back further than to %s", Complete, Prepare)
	}
	return j.verdict()
}

// JudgeCleanup says whether queue and exchange of the previous release can be deleted with these facts.
func JudgeCleanup(f Facts) Verdict {
	j := newJudge(f)
	j.noFanoutCopies()
	j.nobodyBound("its owner must take the binding away (migration guide, part two)")
	for _, exchange := range f.feeding() {
		j.block("exchange %s is bound to %s and feeds it: its owner must delete this binding", exchange, Exchange)
	}
	if n := f.living(func(p Process) bool { return !p.Phase.Fanout() && p.Phase.Declares() }); n > 0 {
		j.block("%d living processes are in %s and declare both again at their next connection: take them to %s first",
			n, Cutover, Complete)
	}
	return j.verdict()
}

// judge collects what speaks against a step.
type judge struct {
	Facts
	found Verdict
}

func newJudge(f Facts) *judge {
	return &judge{f, Verdict{Blockers: []string{}, Unknown: []string{}, Warnings: []string{}}}
}

func (j *judge) block(format string, args ...any) {
	j.found.Blockers = append(j.found.Blockers, fmt.Sprintf(format, args...))
}

func (j *judge) unknown(format string, args ...any) {
	j.found.Unknown = append(j.found.Unknown, fmt.Sprintf(format, args...))
}

func (j *judge) warn(format string, args ...any) {
	j.found.Warnings = append(j.found.Warnings, fmt.Sprintf(format, args...))
}

func (j *judge) verdict() Verdict {
	j.found.Safe = len(j.found.Blockers) == 0 && len(j.found.Unknown) == 0
	return j.found
}

// everyStep: topic copies can appear at any time, so they need their exchange and a reader of ours, whatever the phase.
func (j *judge) everyStep() {
	if t := j.Topic; !t.Exists || t.Type != "topic" || t.Durable == nil || !*t.Durable {
		j.block("%s is not a durable topic exchange: nothing can be published there; find out who declared it otherwise, "+
			"delete it and restart our processes", event.Exchange)
	}
	if j.living(func(p Process) bool { return p.Role == roleConsumer }) == 0 {
		j.block("no consumer process of ours is alive: deploy the consumers first, they leave last")
	}
	email := j.Email.Main
	if j.OfTopic != nil && !slices.ContainsFunc(j.OfTopic, func(b event.Binding) bool {
		return b.Kind == "queue" && b.Destination == email.Name && b.Key == emailKeys
	}) {
		j.block("%s is not bound to %s with %s: topic copies do not get there, and are lost where somebody else is bound; find "+
			"out who has taken the binding away, and restart one of our processes, which binds it", email.Name, event.Exchange, emailKeys)
	}
	switch {
	case email.Consumers == 0:
		j.block("nobody reads %s: topic copies would lie there unsent; look at /ready and the log of our consumers", email.Name)
	case email.Readers == nil:
		j.warn("somebody reads %s, and a consumer process of ours is alive; that it is the one cannot be seen", email.Name)
	case email.Ours() == 0:
		j.block("none of the readers of %s is ours: look at /ready and the log of our consumers", email.Name)
	}
	if foreign := email.Foreign(); len(foreign) > 0 {
		j.block("%s is read by somebody else as well (%s), who takes mails away from us: stop it", email.Name, names(foreign))
	}
	if n := waiting(j.Email); n > worthTelling {
		j.warn("%d messages wait in %s and its retry levels: mails are late; wait until they are fewer", n, email.Name)
	}
	for _, l := range []Ladder{j.Email, j.Legacy} {
		if n := l.Dead.Ready; n > 0 {
			j.warn("%d dead letters in %s: look with `consumer dlq list %s`", n, l.Dead.Name, l.Main.Name)
		}
	}
}

// fanoutCopies: both sides of the old path have to be there.
func (j *judge) fanoutCopies(to Phase) {
	if lowest, ok := j.lowest(); to == Dual && (!ok || lowest == Prepare) {
		j.warn("from %s on our codes are not accepted by api pods of the previous release, which cannot be seen here: "+
			"make sure that none serves any more", Dual)
	}
	if e := j.Fanout; e.Exists && (e.Type != "" && e.Type != "fanout" || e.Durable != nil && !*e.Durable) {
		j.block("%s exists and is not a durable fanout exchange: our processes could not declare it and would publish "+
			"nothing at all; its owner must delete it", Exchange)
	}
	if j.Old.Exists {
		j.oldReaders()
	}
}

// oldPath: whoever can commit a fanout copy relies on queue and binding, whatever the step. Ours declare both when they
// connect, and again before a mail; api pods of the previous release declare neither.
func (j *judge) oldPath(to Phase) {
	var missing string
	switch {
	case !j.Old.Exists:
		missing = "does not exist"
	case j.unbound():
		missing = "is not bound to " + Exchange
	default:
		return
	}
	if n := j.living(func(p Process) bool { return p.Phase.Fanout() }); n > 0 {
		j.block("%s %s, although %d living processes are in %s or %s: somebody has taken it away, and mails of the previous "+
			"release's api pods are lost; restart one of our processes, which puts it right, and find out who it was",
			Queue, missing, n, Prepare, Dual)
	} else if to.Fanout() {
		j.warn("%s %s: the first process in %s puts that right; until then mails of the previous release's api pods are lost. "+
			"Our consumers read the queue within a minute, unless EVENTS_CONSUME_LEGACY=off", Queue, missing, to)
	}
}

// unbound tells whether the old queue is known not to be bound to its exchange.
func (j *judge) unbound() bool {
	return j.Bindings != nil && !slices.ContainsFunc(j.Bindings, func(b event.Binding) bool {
		return b.Source == Exchange && b.Kind == "queue" && b.Destination == Queue
	})
}

// oldReaders: a fanout copy is always the one that sends, so somebody has to read it.
func (j *judge) oldReaders() {
	switch old := j.Old; {
	case old.Consumers == 0:
		j.block("nobody reads %s, where the copies that send are: our consumers do within a minute, unless "+
			"EVENTS_CONSUME_LEGACY=off", Queue)
	case old.Readers != nil && old.Ours() == 0:
		j.warn("only consumers of the previous release read %s: is EVENTS_CONSUME_LEGACY=off? "+
			"When they go, nobody sends those mails", Queue)
	}
	n := j.Old.Ready
	if j.Old.Unacked != nil {
		n += *j.Old.Unacked // an old consumer has no prefetch limit: what it cannot send it holds
	}
	if n > worthTelling {
		j.warn("%d messages wait in %s or are held by its readers: mails are late; an old consumer that has stopped "+
			"working keeps ours from them, scale it down", n, Queue)
	}
}

// cutover: from here on the topic copies send. Who has not been seen to get them right, or reads only the fanout, is
// not ready. Where all are there already (going back from complete), nothing of this changes.
func (j *judge) cutover() {
	if j.Old.Exists {
		j.oldReaders() // late fanout copies still send
	}
	if lowest, ok := j.lowest(); ok && !lowest.Fanout() {
		return
	}
	j.nobodyBound("its owner must take the binding away first: it gets no mails any more, and nothing replaces them (migration guide, part two)")
	s := j.Shadows
	switch {
	case s.Mismatched > 0:
		j.block("%d of %d mails compared since %s would have differed (%s): look at the versions that run and at the "+
			"events named above; once it is repaired, count from then on with --since", s.Mismatched,
			s.Mismatched+s.Matched, s.Since.UTC().Format("2006-01-02 15:04"), fields(s.Fields))
	case s.Matched == 0:
		j.block("no mail has been compared since %s: wait until one has been sent in %s",
			s.Since.UTC().Format("2006-01-02 15:04"), Dual)
	}
	if n := j.living(func(p Process) bool { return p.Role == roleAPI && !p.Phase.Topic() }); n > 0 {
		j.warn("%d living api processes are in %s: what they send has not been compared; take them to %s first", n, Prepare, Dual)
	}
}

// complete: nothing of the old path may be needed any more, because nobody declares it, and the previous release cannot
// come back.
func (j *judge) complete() {
	j.noFanoutCopies()
	j.nobodyBound("its owner must take the binding away first: it gets no mails any more, and nothing replaces them (migration guide, part two)")
	const leave = "our consumers send them; wait until they have"
	j.empty(j.Legacy.Main, leave)
	for _, q := range j.Legacy.Retry {
		if q.Ready > 0 {
			j.block("%s holds %d messages: %s", q.Name, q.Ready, leave)
		}
	}
}

// noFanoutCopies: none is under way, and nobody is left who writes or reads them, ours excepted.
func (j *judge) noFanoutCopies() {
	for _, phase := range []Phase{Prepare, Dual} {
		alive := j.living(func(p Process) bool { return p.Phase == phase })
		if alive > 0 {
			j.block("%d living processes are in %s: take them to %s first", alive, phase, phase.Next())
			continue
		}
		if gone := j.lately(phase); gone > 0 {
			j.block("%d processes were in %s less than %d minutes ago: wait until they have been gone for so long",
				gone, phase, int(Recently.Minutes()))
		}
	}
	if j.Waiting > 0 {
		j.block("%d rows for %s wait in the outbox: a relay publishes them; given-up ones need `consumer outbox retry`",
			j.Waiting, Exchange)
	}
	j.nobodyWrites()
	if !j.Old.Exists {
		return
	}
	j.empty(j.Old, "its readers send them; wait until they have")
	switch foreign := j.Old.Foreign(); {
	case j.Old.Readers == nil:
		j.unknown("whose the %d consumers of %s are: %s", j.Old.Consumers, Queue, askManagement)
	case len(foreign) > 0:
		j.block("%s is still read by consumers of the previous release (%s): scale them down", Queue, names(foreign))
	}
	switch arrived := j.Old.Arrived; {
	case arrived == nil:
		j.unknown("whether messages still arrive in %s: %s", Queue, askManagement)
	case *arrived > 0:
		j.block("%d messages came to %s in the last %d minutes: if none of our processes was in %s or %s then, an api of the "+
			"previous release still runs; stop it, and wait until nothing has come for so long",
			*arrived, Queue, int(Recently.Minutes()), Prepare, Dual)
	}
}

// nobodyWrites: whoever has published to the fanout and is still connected can do so again at any time. A broker tells who
// only when it counts in detail (management.rates_mode); that nobody is named proves nothing.
func (j *judge) nobodyWrites() {
	if foreign := j.Fanout.ForeignWriters(); len(foreign) > 0 {
		j.block("somebody else is connected who has published to %s (%s): if it is an api of the previous release, stop it",
			Exchange, names(foreign))
	}
}

// askManagement is what to do about a fact that only the management API knows.
const askManagement = "make the management API answer (RABBITMQ_MANAGEMENT_URL) and ask again"

// nobodyBound: what is bound besides the old queue belongs to somebody who would miss the mails.
func (j *judge) nobodyBound(remedy string) {
	if j.Bindings == nil {
		j.unknown("whether another team is bound to %s: %s", Exchange, askManagement)
	}
	for _, b := range j.bound() {
		j.block("%s %s of another team is still bound to %s: %s", b.Kind, b.Destination, Exchange, remedy)
	}
}

// empty: nothing lies in q, and nothing is held by a reader of it.
func (j *judge) empty(q event.QueueState, remedy string) {
	if !q.Exists {
		return
	}
	switch {
	case q.Unacked == nil && q.Ready > 0:
		j.block("%s holds %d messages: %s", q.Name, q.Ready, remedy)
	case q.Unacked == nil:
		j.unknown("whether a reader of %s holds messages that it has not acknowledged: %s", q.Name, askManagement)
	case q.Ready+*q.Unacked > 0:
		j.block("%s holds %d messages, %d of them unacknowledged: %s", q.Name, q.Ready+*q.Unacked, *q.Unacked, remedy)
	}
}

// lately counts the processes that reported phase within Recently, living or not.
func (j *judge) lately(phase Phase) (n int) {
	for _, p := range j.Processes {
		if p.Phase == phase && j.At.Sub(p.SeenAt) < Recently {
			n++
		}
	}
	return n
}

func waiting(l Ladder) int {
	n := l.Main.Ready
	for _, q := range l.Retry {
		n += q.Ready
	}
	return n
}

// names lists readers or writers.
func names[T interface{ Name() string }](clients []T) string {
	out := make([]string, len(clients))
	for i, c := range clients {
		out[i] = c.Name()
	}
	return strings.Join(out, ", ")
}

// fields lists what differed, the most frequent first.
func fields(counts map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = fmt.Sprintf("%s %d", k, counts[k])
	}
	return strings.Join(out, ", ")
}

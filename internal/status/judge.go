package status

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What is too long, in seconds. The alerts of deployments/alerts.yaml have the same figures.
const (
	MailOwedFor    = 120
	OutboxDueFor   = 60
	SchedulerLate  = 60
	SnapshotOldFor = 600
	HaltedFor      = 3600
)

// Problem is something that is wrong, and what to do about it.
type Problem struct {
	// Alert is the alert of the same cause in deployments/alerts.yaml, and with that the section of docs/runbook.md.
	Alert string `json:"alert"`
	What  string `json:"what"`
	Next  string `json:"next"`
	// Page says that people wait, or that work stands still. Everything else waits for a person who has time.
	Page bool `json:"page"`
}

// Runbook returns where the problem is described.
func (p Problem) Runbook() string { return "docs/runbook.md#" + Anchor(p.Alert) }

// Anchor returns the anchor of an alert's section: RoleGone is at role-gone.
func Anchor(alert string) string {
	var b strings.Builder
	for i, r := range alert {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// Judge returns what is wrong, the worst first. What is unknown is not judged: the server that should have said it
// is unhealthy, and that is.
func Judge(f Facts) []Problem {
	problems := slices.Concat(f.servers(), f.roles(), f.queues(), f.mail(), f.work())
	slices.SortStableFunc(problems, func(a, b Problem) int {
		switch {
		case a.Page == b.Page:
			return 0
		case a.Page:
			return -1
		default:
			return 1
		}
	})
	return problems
}

// servers returns the servers that cannot be worked on: as found here, or as processes say of theirs.
func (f Facts) servers() (found []Problem) {
	for _, server := range []struct {
		is         Dependency
		key, alert string
		name, next string
	}{
		{f.Database, "database", "DatabaseUnavailable", "the database", "Repair PostgreSQL, or the grants of POSTGRES_USER"},
		{f.RabbitMQ, "rabbitmq", "BrokerUnavailable", "RabbitMQ", "Look at its alarms and at RABBITMQ_URL; events wait in the outbox"},
		{f.Redis, "redis", "RedisRefusesWrites", "Redis", "See docs/redis-runbook.md; what is not written now is written later"},
	} {
		says := func(what string) {
			found = append(found, Problem{Alert: server.alert, What: server.name + what, Next: server.next, Page: true})
		}
		if server.is.Status != Healthy {
			says(fmt.Sprintf(" is %s: %s", server.is.Status, server.is.Error))
			continue
		}
		for _, t := range f.Troubles {
			if t.Server == server.key {
				says(fmt.Sprintf(": %s (%d of the role %s)", t.Error, t.Count, t.Role))
			}
		}
	}
	return found
}

// roles returns the roles that no process has. While the processes are unknown there is none.
func (f Facts) roles() (found []Problem) {
	if f.Processes == nil {
		return nil
	}
	for _, role := range f.Roles {
		if f.Alive(role) == 0 {
			found = append(found, Problem{
				Alert: "RoleGone",
				What:  "no process of the role " + role + " lives",
				Next:  "Read the last lines of its log and start it: " + role + " serve",
				Page:  true,
			})
		}
	}
	return found
}

func (f Facts) queues() (found []Problem) {
	var unread, missing []string
	for _, q := range f.Queues {
		switch {
		case q.Exists != nil && !*q.Exists:
			missing = append(missing, q.Name)
		case q.Consumers != nil && *q.Consumers == 0 && !f.halted(q.Name):
			unread = append(unread, q.Name+waiting(q))
		}
	}
	const next = "Start a consumer, or read in its log why it does not consume"
	if len(unread) > 0 {
		what := "nobody consumes " + strings.Join(unread, ", ")
		found = append(found, Problem{Alert: "QueueWithoutConsumer", What: what, Next: next, Page: true})
	}
	if len(missing) > 0 {
		what := "these queues do not exist: " + strings.Join(missing, ", ")
		found = append(found, Problem{Alert: "QueueWithoutConsumer", What: what, Next: next, Page: true})
	}
	return found
}

// waiting returns how many messages wait in q, where any do.
func waiting(q Queue) string {
	if n := deref(q.Ready) + deref(q.Retry); n > 0 {
		return fmt.Sprintf(" (%d wait)", n)
	}
	return ""
}

// halted reports whether a person has paused queue, so that nobody consumes it.
func (f Facts) halted(queue string) bool {
	return slices.ContainsFunc(f.Lanes, func(l Lane) bool { return l.Queue == queue && l.Halt != nil })
}

// halt returns the pause of a lane by a person, which is nothing wrong for a while.
func (f Facts) halt(lane Lane) Problem {
	what := fmt.Sprintf("%s has paused %s since %s", lane.Halt.By, lane.Queue, lane.Halt.Since.UTC().Format(time.DateTime))
	if lane.Halt.Reason != "" {
		what += " (" + lane.Halt.Reason + ")"
	}
	return Problem{
		Alert: "LanePausedByOperator",
		What:  what + ": none of its mails leaves",
		Next:  "Once the reason is gone: consumer lane resume " + lane.Queue + " --by NAME",
		Page:  lane.HaltedFor(f.At).Seconds() >= HaltedFor,
	}
}

func (f Facts) mail() (found []Problem) {
	for _, lane := range f.Lanes {
		if lane.Halt != nil && lane.Halt.By != "" {
			found = append(found, f.halt(lane))
		}
		if lane.Paused {
			found = append(found, Problem{
				Alert: "MailIsPaused",
				What: fmt.Sprintf("%s is paused since %s: the mail server refuses us or cannot be reached (%s)",
					lane.Queue, lane.Since.UTC().Format(time.DateTime), lane.Class),
				Next: "Repair the mail server, or the SMTP_ settings; mails leave by themselves then",
				Page: true,
			})
		}
	}
	if f.Mails != nil && f.Mails.Oldest > MailOwedFor {
		found = append(found, Problem{
			Alert: "MailIsOwed",
			What:  fmt.Sprintf("%s owed, the oldest for %s", number(f.Mails.Owed, "mail is", "mails are"), duration(f.Mails.Oldest)),
			Next:  "See below where they wait: outbox, queue, retry, lane; for one person: api user show EMAIL",
			Page:  !slices.ContainsFunc(f.Lanes, func(l Lane) bool { return l.Halt != nil }), // it is known why
		})
	}
	return found
}

func (f Facts) work() (found []Problem) {
	if f.Outbox != nil && f.Outbox.OldestDue > OutboxDueFor {
		found = append(found, Problem{
			Alert: "OutboxIsNotMoving",
			What:  fmt.Sprintf("events have been due for %s and nobody publishes them", duration(f.Outbox.OldestDue)),
			Next:  "Look at /health/rabbitmq of the api; a broker under a memory or disk alarm takes no messages",
			Page:  true,
		})
	}
	if f.Outbox != nil && f.Outbox.Failed > 0 {
		found = append(found, Problem{
			Alert: "OutboxRowsGivenUp",
			What:  number(f.Outbox.Failed, "row of the outbox was", "rows of the outbox were") + " given up",
			Next:  "Find the cause in event_publish_failures_total, then: consumer outbox retry",
		})
	}
	for _, q := range f.Queues {
		if deref(q.Dead) > 0 {
			found = append(found, Problem{
				Alert: "DeadLetters",
				What:  q.Name + " has " + number(*q.Dead, "dead letter", "dead letters"),
				Next:  "consumer dlq list " + q.Name,
			})
		}
	}
	if deref(f.SchedulerLag) > SchedulerLate {
		found = append(found, Problem{
			Alert: "SubscriptionsEndLate",
			What:  fmt.Sprintf("a subscription ended %s ago and is not expired", duration(*f.SchedulerLag)),
			Next:  "The log of the consumers says what fails; people keep what they hold",
		})
	}
	if deref(f.OldestSnapshot) > SnapshotOldFor {
		found = append(found, Problem{
			Alert: "OldSnapshot",
			What:  fmt.Sprintf("a transaction is open for %s: nothing deleted since is vacuumed", duration(*f.OldestSnapshot)),
			Next:  "Find and end it: SELECT pid, usename, state, xact_start FROM pg_stat_activity ORDER BY xact_start",
		})
	}
	return found
}

// duration returns seconds as people read them.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= time.Hour:
		d = d.Round(time.Minute)
	default:
		d = d.Round(time.Second)
	}
	text := d.String()
	if strings.HasSuffix(text, "h0m0s") || strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	return text
}

// number returns n with the word for it.
func number[N int | int64](n N, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/test/harness"
)

// copies is how many messages are published that nobody can handle.
const copies = 1000

// poison publishes messages of several sorts that nobody can handle to the queue of mails.
func poison(ctx context.Context, r *run, s *section) error {
	s.notes = append(s.notes, strconv.Itoa(copies)+" messages")
	return r.poison(ctx)
}

func (r *run) poison(ctx context.Context) error {
	sorts := []amqp.Publishing{
		{Body: []byte("{")},
		{Body: []byte(`{"event_id":"` + strings.Repeat("x", 256) + `","payload":7}`)},
		{Body: []byte(`{"event_id":"a\u0000b"}`)},
		{Headers: amqp.Table{"h": strings.Repeat("h", 100_000)}, Body: []byte("{}")},
	}
	all := make([]amqp.Publishing, copies)
	for i := range all {
		all[i] = sorts[i%len(sorts)]
	}
	for chunk := range slices.Chunk(all, copies/10) {
		if err := r.Publish(ctx, harness.Exchange, "email.project_completed.requested", chunk...); err != nil {
			return err
		}
	}
	return nil
}

// discardPoison expects every one of them as a dead letter, and discards them.
func discardPoison(ctx context.Context, r *run) error {
	limited, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	err := harness.Eventually(limited, func() error {
		n, err := r.QueueLength(ctx, emailQueue+".dead")
		if err == nil && n < copies {
			err = fmt.Errorf("%d of %d messages are dead letters", n, copies)
		}
		return err
	})
	if err != nil {
		return err
	}
	out, err := r.Command(ctx, r.Consumers[0].Env(), harness.Consumer, "dlq", "discard", emailQueue, "--all", "--reason", "make chaos")
	if err == nil && out.Code != 0 {
		err = errors.New(out.Stderr)
	}
	return err
}

const (
	// poisonPairs is how often mails are timed without and with poison beside them.
	poisonPairs = 3
	// poisonRatio is how much later the slowest hundredth of mails may come beside poison.
	poisonRatio = 2.0
)

// neighbours times the mails of ten registrations a second without and with poison in the same queue, in pairs.
func neighbours(ctx context.Context, r *run, s *section) error {
	var ratios []float64
	for range poisonPairs {
		without := r.mailTimes(ctx)
		if err := r.poison(ctx); err != nil {
			return err
		}
		with := r.mailTimes(ctx)
		if err := discardPoison(ctx, r); err != nil {
			return err
		}
		ratios = append(ratios, with.Seconds()/without.Seconds())
		s.notes = append(s.notes, fmt.Sprintf("p99 %.0f ms without, %.0f ms with", without.Seconds()*1000, with.Seconds()*1000))
	}
	slices.Sort(ratios)
	median := ratios[len(ratios)/2]
	s.notes = append(s.notes, fmt.Sprintf("median ratio %.2f", median))
	if median > poisonRatio {
		return fmt.Errorf("mails beside poison come %.2f times as late, at most %.1f is meant", median, poisonRatio)
	}
	return nil
}

// mailTimes has people register for the time of a fault and returns the p99 of the times until their mails came.
func (r *run) mailTimes(ctx context.Context) time.Duration {
	limited, cancel := context.WithTimeout(ctx, r.hold)
	defer cancel()
	before := len(r.crowd.all())
	r.crowd.every(limited, 5, func() { r.crowd.register(ctx) }) // the crowd itself is the rest
	<-limited.Done()
	pause(ctx, prompt)
	var took []time.Duration
	for _, o := range r.crowd.all()[before:] {
		if came := first(r.mail.attempts(o.to)); o.probe && !came.IsZero() {
			took = append(took, came.Sub(o.began))
		}
	}
	if len(took) == 0 {
		return never
	}
	slices.Sort(took)
	return took[(len(took)*99+99)/100-1]
}

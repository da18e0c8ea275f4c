package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// condition is how one service finds its servers.
type condition struct {
	name   string
	server string // whose proxy is touched; empty: none
	do     func(*proxy) error
}

var conditions = []condition{
	{name: "healthy"},
	{name: "healthy (control)"},
	{"RabbitMQ down", "rabbitmq", (*proxy).refuse},
	{"RabbitMQ stopped", "rabbitmq", (*proxy).freeze},
	{"Redis down", "redis", (*proxy).refuse},
	{"Redis stopped", "redis", (*proxy).freeze},
	{"SMTP down", "smtp", (*proxy).refuse},
	{"SMTP stopped", "smtp", (*proxy).freeze},
}

var verbs = []string{"registration", "verification", "login"}

// subject is a service in one condition, with what was measured on it: samples per verb.
type subject struct {
	condition
	*service
	proxies map[string]*proxy
	client  *client
	took    map[string][]time.Duration
	cpu     time.Duration
}

// benchOutage measures what people feel while a server that is not the database is away. One service per condition
// runs all the time, and each person in turn goes through each of them, so that all share every disturbance. The
// servers themselves keep running: every service reaches them through proxies of its own, which refuse connections
// (killed) or let nothing through any more (SIGSTOP).
func benchOutage(ctx context.Context, s settings, t *tables) error {
	if s.seconds == 0 {
		s.seconds = 80 * time.Second
	}
	folder, removeBinaries, err := buildBinaries(ctx)
	if err != nil {
		return err
	}
	defer removeBinaries()
	box, stop, err := startInbox(1)
	if err != nil {
		return err
	}
	defer stop()
	subjects := make([]*subject, len(conditions))
	for i, c := range conditions {
		if subjects[i], err = startSubject(ctx, s, folder, c, box.SMTPAddr()); subjects[i].service != nil {
			defer subjects[i].close()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if err := walkAll(ctx, subjects, s.seconds); err != nil {
		return err
	}
	for _, sub := range subjects {
		sub.cpu = sub.stop()
	}
	report(subjects, t)
	return nil
}

func startSubject(ctx context.Context, s settings, folder string, c condition, smtp string) (*subject, error) {
	sub := &subject{condition: c, took: map[string][]time.Duration{}}
	var err error
	sub.service, err = startService(ctx, s, folder, func(e environment) error {
		sub.proxies, err = e.throughProxies(s.stack.Redis.Addr(), smtp)
		return err
	})
	sub.client = newClient(sub.url)
	for _, p := range sub.proxies {
		sub.closers = append(sub.closers, p.Stop)
	}
	return sub, err
}

// walkAll lets one person go through every service as a warm-up, makes the conditions true, and then measures.
func walkAll(ctx context.Context, subjects []*subject, d time.Duration) error {
	for _, sub := range subjects {
		if err := sub.walk(ctx, "warmup@example.com"); err != nil {
			return fmt.Errorf("%s, before anything is away: %w", sub.name, err)
		}
		clear(sub.took)
		if sub.server != "" {
			if err := sub.do(sub.proxies[sub.server]); err != nil {
				return err
			}
		}
	}
	end := time.Now().Add(d)
	for round := 0; time.Now().Before(end); round++ {
		for i := range subjects {
			sub := subjects[(round+i)%len(subjects)]
			if err := sub.walk(ctx, fmt.Sprintf("person%d@example.com", round)); err != nil {
				return fmt.Errorf("%s: %w", sub.name, err)
			}
		}
	}
	return nil
}

// walk is one person's way: register, verify, log in.
func (s *subject) walk(ctx context.Context, email string) error {
	steps := map[string]func() (time.Duration, error){
		"registration": func() (time.Duration, error) { return s.client.register(ctx, email) },
		"verification": func() (time.Duration, error) {
			if err := s.setCode(ctx, email); err != nil {
				return 0, err
			}
			return s.client.verify(ctx, email, knownCode)
		},
		"login": func() (time.Duration, error) { return s.client.login(ctx, email) },
	}
	for _, verb := range verbs {
		took, err := steps[verb]()
		if err != nil {
			return err
		}
		s.took[verb] = append(s.took[verb], took)
	}
	return nil
}

// report puts every verb of every condition beside the healthy run. The processes' CPU time tells what latency on a
// shared machine would hide: a service that spins while it waits.
func report(subjects []*subject, t *tables) {
	healthy, others := subjects[0], subjects[1:]
	for _, sub := range others {
		for _, verb := range verbs {
			t.outages = append(t.outages, outage{
				what: verb + ", " + sub.name, away: sub.took[verb], healthy: healthy.took[verb],
			})
		}
	}
	cpu := []string{"CPU time of api and consumer, as a multiple of the healthy run's:"}
	for _, sub := range others {
		cpu = append(cpu, fmt.Sprintf("  %-18s %.2f", sub.name, sub.cpu.Seconds()/healthy.cpu.Seconds()))
	}
	t.notes = append(t.notes, strings.Join(slices.Concat(cpu, []string{"",
		"down: the processes' proxy refuses connections and cuts those it had. stopped: it lets nothing through any more,",
		"which is what a client sees of a server under SIGSTOP. The control is a second healthy service: its distance from",
		"1.00 is this run's noise."}), "\n"))
}

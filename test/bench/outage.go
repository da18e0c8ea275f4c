package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/test/harness"
)

// conditions are how a service finds its servers.
var conditions = []struct {
	name     string
	server   string // whose proxy is touched; empty: none
	sabotage func(*toxiproxy.Proxy) error
}{
	{name: "healthy"},
	{name: "healthy (control)"},
	{"RabbitMQ down", "rabbitmq", refuse},
	{"RabbitMQ stopped", "rabbitmq", freeze},
	{"Redis down", "redis", refuse},
	{"Redis stopped", "redis", freeze},
	{"SMTP down", "smtp", refuse},
	{"SMTP stopped", "smtp", freeze},
}

// refuse cuts every connection and takes no new one, as a server that was killed.
func refuse(p *toxiproxy.Proxy) error {
	p.Stop()
	return nil
}

// freeze lets no byte through while every connection looks alive, as a server under SIGSTOP.
func freeze(p *toxiproxy.Proxy) error {
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := `{"name":"` + stream + `","type":"timeout","stream":"` + stream + `","attributes":{"timeout":0}}`
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return err
		}
	}
	return nil
}

var verbs = []string{"registration", "verification", "login"}

// subject is a service in one condition, with the samples per verb.
type subject struct {
	*harness.System
	name    string
	proxies map[string]*toxiproxy.Proxy
	client  *harness.Client
	took    map[string][]time.Duration
	cpu     time.Duration
}

// outage measures what people feel while a server other than the database is down. One service per condition runs all
// the time, and each person in turn goes through each of them, so that all share every disturbance. The servers
// themselves keep running: every service reaches them through proxies of its own.
func (b *bench) outage(ctx context.Context) error {
	subjects := make([]*subject, len(conditions))
	for i, c := range conditions {
		sub, err := b.startSubject(ctx, c.name)
		for _, p := range sub.proxies {
			defer p.Stop()
		}
		if err == nil {
			err = b.visit(ctx, sub, "warmup@example.com")
		}
		if err == nil && c.server != "" {
			err = c.sabotage(sub.proxies[c.server])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		clear(sub.took)
		subjects[i] = sub
	}
	end := time.Now().Add(b.lasting(80 * time.Second))
	for round := 0; time.Now().Before(end); round++ {
		for i := range subjects {
			sub := subjects[(round+i)%len(subjects)]
			if err := b.visit(ctx, sub, fmt.Sprintf("person%d@example.com", round)); err != nil {
				return fmt.Errorf("%s: %w", sub.name, err)
			}
		}
	}
	if err := inParallel(len(subjects), func(i int) error { return subjects[i].stop(ctx) }); err != nil {
		return err
	}
	b.reportOutage(subjects)
	return nil
}

// startSubject starts a service with a proxy before each server that is not the database.
func (b *bench) startSubject(ctx context.Context, name string) (*subject, error) {
	sub := &subject{name: name, proxies: map[string]*toxiproxy.Proxy{}, took: map[string][]time.Duration{}}
	var err error
	if sub.System, err = b.start(ctx); err != nil {
		return sub, err
	}
	broker, err := url.Parse(sub.BrokerURL)
	if err != nil {
		return sub, err
	}
	upstreams := map[string]string{"rabbitmq": broker.Host, "redis": b.config.Redis.Addr(), "smtp": sub.Mailbox.Addr()}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	for name, upstream := range upstreams {
		sub.proxies[name] = toxiproxy.NewProxy(server, name, "127.0.0.1:0", upstream)
		if err := sub.proxies[name].Start(); err != nil {
			return sub, err
		}
	}
	broker.Host = sub.proxies["rabbitmq"].Listen
	smtpHost, smtpPort, err := net.SplitHostPort(sub.proxies["smtp"].Listen)
	if err != nil {
		return sub, err
	}
	env := slices.Concat(production, []string{
		"RABBITMQ_URL=" + broker.String(),
		"REDIS_HOST=" + sub.proxies["redis"].Listen, // host:port is allowed there
		"SMTP_HOST=" + smtpHost,
		"SMTP_PORT=" + smtpPort,
	})
	sub.NewAPI(env...)
	sub.NewConsumer(env...)
	sub.client = sub.Client().KeepAlive()
	return sub, sub.StartAll(ctx)
}

// visit is what one person does: register, verify, log in.
func (b *bench) visit(ctx context.Context, sub *subject, email string) error {
	registered, err := harness.Expect(http.StatusCreated)(sub.client.Register(ctx, email, harness.Password))
	if err != nil {
		return err
	}
	if _, err := b.setCode(ctx, sub.System, email); err != nil {
		return err
	}
	verified, err := harness.Expect(http.StatusOK)(sub.client.Verify(ctx, email, knownCode))
	if err != nil {
		return err
	}
	loggedIn, err := harness.Expect(http.StatusOK)(sub.client.Login(ctx, email, harness.Password, false))
	for i, a := range []harness.Answer{registered, verified, loggedIn} {
		sub.took[verbs[i]] = append(sub.took[verbs[i]], a.Took)
	}
	return err
}

// stop ends the processes and adds up the CPU time they have used. An exit code is no error: what is down may hold up
// the end.
func (sub *subject) stop(ctx context.Context) error {
	for _, p := range sub.Processes() {
		cpu, err := p.Terminate(ctx)
		if cpu == 0 {
			return err
		}
		sub.cpu += cpu
	}
	return nil
}

// reportOutage puts every verb of every condition beside the healthy run. The CPU time shows what latency on a shared
// machine hides: a service that spins while it waits.
func (b *bench) reportOutage(subjects []*subject) {
	healthy, others := subjects[0], subjects[1:]
	cpu := []string{"CPU time of api and consumer, as a multiple of the healthy run's:"}
	for _, sub := range others {
		for _, verb := range verbs {
			b.report.beside(outageHeader, verb+", "+sub.name, sub.took[verb], healthy.took[verb], 1.2, 2.0)
		}
		cpu = append(cpu, fmt.Sprintf("  %-18s %.2f", sub.name, sub.cpu.Seconds()/healthy.cpu.Seconds()))
	}
	b.report.note("%s", strings.Join(cpu, "\n"))
	b.report.note(`down: the processes' proxy refuses connections and cuts those it had. stopped: it lets nothing through,
which is what a client sees of a server under SIGSTOP. The control is a second healthy service: its distance
from 1.00 is this run's noise.`)
}

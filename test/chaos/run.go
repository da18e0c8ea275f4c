package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smap-platform/identity/test/harness"
)

// run is one run of the program.
type run struct {
	*harness.System
	servers *servers
	direct  []string       // addresses of the apis
	leaving [2]atomic.Bool // apis that a balancer would have left
	fronts  []*sentinelFront
	random  *rand.Rand
	links   *links
	mail    *mailServer
	crowd   *crowd
	events  *events
	// Whose end has to be told of once.
	trials, projects, batches []string
	hold                      time.Duration
	patient                   time.Duration     // how long it waits in the end for a mail that does not come
	ahead                     map[string]string // builds whose clock is wrong, by program
	wrong                     []string
	resting                   map[string]map[string]float64 // by process and metric, before the first fault
}

// hosts are where the two apis listen. Outgoing connections take ports of 127.0.0.1 only: an api gets its own again after
// a restart.
var hosts = []string{"127.0.0.2", "127.0.0.3"}

// start starts everything: two apis and two consumers, every link of which goes through a proxy.
func start(ctx context.Context, seed uint64, consumer string) (*run, error) {
	r := &run{hold: hold, patient: patient, random: rand.New(rand.NewPCG(seed, seed)), links: newLinks()}
	var err error
	if r.servers, err = findServers(); err != nil {
		return nil, err
	}
	if r.mail, err = newMailServer(); err != nil {
		return nil, err
	}
	if r.System, err = harness.Start(ctx, harness.Options{}); err != nil {
		return nil, err
	}
	return r, r.startProcesses(ctx, consumer)
}

// startProcesses starts the processes, the consumers from that binary unless it is empty.
func (r *run) startProcesses(ctx context.Context, consumer string) error {
	r.crowd = &crowd{mail: r.mail, random: r.random}
	for _, host := range hosts {
		port, err := freePort(host)
		if err != nil {
			return err
		}
		r.direct = append(r.direct, net.JoinHostPort(host, port))
		listen, err := r.links.to("client-api", net.JoinHostPort(host, port))
		if err != nil {
			return err
		}
		r.crowd.apis = append(r.crowd.apis, "http://"+listen)
		env, err := r.environment("api")
		if err != nil {
			return err
		}
		r.NewAPI(append(env, "HOST="+host, "APP_PORT="+port)...)
	}
	env, err := r.environment("consumer")
	if err != nil {
		return err
	}
	for range 2 {
		if p := r.NewConsumer(env...); consumer != "" {
			p.Use(consumer)
		}
	}
	if err := r.StartAll(ctx); err != nil {
		return err
	}
	if r.events, err = r.recordEvents(ctx); err != nil {
		return err
	}
	return r.promote(ctx)
}

// environment returns the environment of a process of that role: each of its servers is a proxy.
func (r *run) environment(role string) ([]string, error) {
	ports := &sync.Map{} // of the servers, and of the proxies before them
	ways := map[string][]string{}
	for _, kind := range []string{"rabbitmq", "redis", "postgres"} {
		for _, address := range addresses(kind) {
			listen, err := r.links.once(role+"-"+kind, address)
			if err != nil {
				return nil, err
			}
			ways[kind] = append(ways[kind], listen)
			ports.Store(portOf(address), portOf(listen))
		}
	}
	smtp, err := r.links.once(role+"-smtp", r.mail.Addr())
	if err != nil {
		return nil, err
	}
	nodes, err := r.nodes(ways["rabbitmq"])
	if err != nil {
		return nil, err
	}
	env := []string{
		"SMTP_TIMEOUT=8s", "INVITATIONS_PER_SECOND=1000", "DRAIN_DELAY=2s",
		"RABBITMQ_URL=" + nodes,
		"POSTGRES_HOST=" + strings.Join(ways["postgres"], ","),
		"SMTP_HOST=127.0.0.1", "SMTP_PORT=" + portOf(smtp),
	}
	var fronts []string
	for _, address := range addresses("sentinel") {
		front, err := newSentinelFront(address, ports)
		if err != nil {
			return nil, err
		}
		r.fronts = append(r.fronts, front)
		fronts = append(fronts, front.address())
		ports.Store(portOf(address), portOf(front.address())) // they name each other
	}
	return append(env, "REDIS_HOST=", "REDIS_PORT=", "REDIS_SENTINEL_ADDRS="+strings.Join(fronts, ",")), nil
}

// nodes is RABBITMQ_URL with other addresses.
func (r *run) nodes(addresses []string) (string, error) {
	broker, err := url.Parse(firstOf(r.BrokerURL))
	if err != nil {
		return "", errors.New("the broker's URL cannot be read") // the parser's error quotes the password
	}
	var all []string
	for _, address := range addresses {
		broker.Host = address
		all = append(all, broker.String())
	}
	return strings.Join(all, ","), nil
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address) // of a listener, or of the cluster
	return port
}

// promote makes an administrator, for whom the crowd invites.
func (r *run) promote(ctx context.Context) error {
	email, admin := harness.Email(), r.crowd.clients()
	_, err := harness.Expect(http.StatusCreated)(patiently(ctx, func() (harness.Answer, error) {
		return admin.Register(ctx, email, harness.Password)
	}))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	code := r.mail.code(ctx, email)
	if _, err := harness.Expect(http.StatusOK)(admin.Verify(ctx, email, code)); err != nil {
		return err
	}
	out, err := r.Command(ctx, nil, harness.API, "user", "promote", email, "--by", "make chaos")
	if err == nil && out.Code != 0 {
		err = errors.New(out.Stderr)
	}
	if err == nil {
		_, err = harness.Expect(http.StatusOK)(patiently(ctx, func() (harness.Answer, error) {
			return admin.Login(ctx, email, harness.Password, true)
		}))
	}
	r.crowd.admin = admin
	return err
}

const (
	// hold is how long a fault lasts.
	hold = 8 * time.Second
	// patient is longer than the half minute after which a mail is repeated of which nobody knows whether it was accepted.
	patient = 100 * time.Second
)

// inject runs one fault after the other and returns their sections.
func (r *run) inject(ctx context.Context, faults []*fault) (sections []*section, err error) {
	for i, f := range faults {
		r.crowd.section.Store(int64(i))
		s := &section{fault: f, began: time.Now()}
		sections = append(sections, s)
		s.err = f.begin(ctx, r, s)
		if s.err == nil {
			pause(ctx, time.Until(s.began.Add(r.hold)))
		}
		if f.end != nil {
			s.err = errors.Join(s.err, f.end(context.WithoutCancel(ctx), r))
		}
		s.healed = time.Now()
		fmt.Printf("%s  %2d/%d %s, healed after %s %s\n", s.began.Format(time.TimeOnly), i+1, len(faults), f.name,
			seconds(s.healed.Sub(s.began)), strings.Join(s.notes, "; "))
		pause(ctx, f.rest())
		if ctx.Err() != nil {
			return sections, ctx.Err()
		}
	}
	return sections, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// settle stops the crowd and waits until every mail has come that was promised, or nothing has for a while.
func (r *run) settle(ctx context.Context, stop context.CancelFunc) {
	stop()
	began := time.Now()
	last, changed := -1, time.Now()
	for time.Since(changed) < r.patient && ctx.Err() == nil {
		missing := 0
		for _, o := range r.crowd.all() {
			if o.answer == promised && !o.refusal && !r.mail.delivered(o.to) {
				missing++
			}
		}
		if missing == 0 {
			break
		}
		if missing != last {
			last, changed = missing, time.Now()
		}
		pause(ctx, time.Second)
	}
	done := make(chan struct{})
	go func() { r.crowd.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * answerWithin): // those whose mail is lost
	}
	pause(ctx, 3*time.Second) // for what should not come
	fmt.Printf("settled after %s\n", seconds(time.Since(began)))
}

func freePort(host string) (string, error) {
	free, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(free.Addr().String())
	return port, errors.Join(err, free.Close())
}

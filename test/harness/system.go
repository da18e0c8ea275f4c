package harness

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// Exchange is the exchange of all SMAP services, spelled as another service would.
const Exchange = "smap.events"

// Options of a System.
type Options struct {
	// APIs and Consumers are how many processes to start.
	APIs, Consumers int
	// Env overrides environment variables of the processes.
	Env map[string]string
}

// System is one installation of the service, with its own database, virtual host, Redis database and mail server.
type System struct {
	APIs      []*Process
	Consumers []*Process

	Database    string  // name
	DB          *sql.DB // the test's own connections
	VirtualHost string  // name
	BrokerURL   string  // of the virtual host
	Redis       *redis.Client
	Mailbox     *Mailbox

	env       map[string]string
	processes []*Process // programs included
	closers   []func() error
}

// Start starts a System and returns it once every process is ready. When it fails, it leaves nothing behind.
func Start(ctx context.Context, o Options) (*System, error) {
	s := &System{}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *System) start(ctx context.Context, o Options) error {
	if err := checkEnvironment(); err != nil {
		return err
	}
	// An abandoned request would still be carried out, and what it created would be left behind.
	create := context.WithoutCancel(ctx)
	err := errors.Join(s.createDatabase(create), s.createVirtualHost(create), s.claimRedis(create), s.startMailbox())
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(s.Mailbox.Addr())
	if err != nil {
		return err
	}
	s.env = map[string]string{
		"DRAIN_DELAY": "0s", "HOST": "127.0.0.1", "APP_PORT": "0", "CONSUMER_PORT": "0", "LOGGER_FORMAT": "json", "LOGGER_LEVEL": "info",
		"POSTGRES_DB": s.Database, "RABBITMQ_URL": s.BrokerURL, "REDIS_STATE_DB": strconv.Itoa(s.Redis.Options().DB),
		// A mail server that hangs ends a try after this time; tests should not wait half a minute for that.
		"SMTP_HOST": host, "SMTP_PORT": port, "SMTP_TLS": "none", "SMTP_TIMEOUT": "3s",
		"SMTP_USERNAME": "", "SMTP_PASSWORD": "",
	}
	maps.Copy(s.env, o.Env)
	for range o.APIs {
		s.NewAPI()
	}
	for range o.Consumers {
		s.NewConsumer()
	}
	return s.StartAll(ctx)
}

func (s *System) startMailbox() (err error) {
	if s.Mailbox, err = newMailbox(); err == nil {
		s.onClose(func() error { s.Mailbox.Down(); return nil })
	}
	return err
}

func (s *System) onClose(f func() error) { s.closers = append(s.closers, f) }

// Close kills every process and removes what the System had on the servers.
func (s *System) Close() error {
	var errs []error
	for _, p := range s.processes {
		errs = append(errs, p.close())
	}
	for _, f := range slices.Backward(s.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// NewAPI adds an api with env over its environment ("NAME=value"). It does not start it.
func (s *System) NewAPI(env ...string) *Process {
	p := s.newProcess(API, API+"-"+strconv.Itoa(len(s.APIs)+1), env)
	s.APIs = append(s.APIs, p)
	return p
}

// NewConsumer adds a consumer with env over its environment ("NAME=value"). It does not start it.
func (s *System) NewConsumer(env ...string) *Process {
	p := s.newProcess(Consumer, Consumer+"-"+strconv.Itoa(len(s.Consumers)+1), env)
	s.Consumers = append(s.Consumers, p)
	return p
}

func (s *System) newProcess(binary, name string, env []string) *Process {
	p := &Process{
		Name:    name,
		Log:     newLog(),
		binary:  binary,
		started: listening,
		env:     append(s.environment(), env...),
	}
	s.processes = append(s.processes, p)
	return p
}

// onBroker is held by the one System that creates or deletes its queues. A 3.10 broker that starts the quorum queues of
// several at once may not have them elect their leaders in time, fails (541), and does so again at the next try.
var onBroker sync.Mutex

// StartAll starts all apis and consumers at once and waits until they are ready. Other Systems start before or after
// that.
func (s *System) StartAll(ctx context.Context) error { return s.startReady(ctx, s.Processes()...) }

func (*System) startReady(ctx context.Context, processes ...*Process) error {
	onBroker.Lock()
	defer onBroker.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range processes {
		group.Go(func() error {
			if err := p.Start(ctx); err != nil {
				return err
			}
			return p.WaitReady(ctx)
		})
	}
	return group.Wait()
}

// Processes returns all apis and consumers.
func (s *System) Processes() []*Process { return slices.Concat(s.APIs, s.Consumers) }

// environment is that of the stack with the System's own over it.
func (s *System) environment() []string {
	env := os.Environ()
	for name, value := range s.env {
		env = append(env, name+"="+value) // the last one counts
	}
	return env
}

// Output is what a command has written, and its exit code.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Command runs a binary to its end in the System's environment, with env over it ("NAME=value"). An exit code is no
// error.
func (s *System) Command(ctx context.Context, env []string, binary string, args ...string) (Output, error) {
	dir, err := binaries()
	if err != nil {
		return Output{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(dir, binary), args...) //nolint:gosec // G204: a binary of ours
	command.Env = append(s.environment(), env...)
	var stdout, stderr bytes.Buffer
	command.Stdout = &stdout
	command.Stderr = &stderr
	err = command.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); exited && ctx.Err() == nil {
		err = nil
	}
	return Output{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}, err
}

// BrokerOptions are the options of a connection to the virtual host.
func (s *System) BrokerOptions(name string) rabbitmq.Options {
	return rabbitmq.Options{URL: s.BrokerURL, Name: "test " + name, Log: zerolog.Nop()}
}

// OnBroker calls fn with a channel to the virtual host.
func (s *System) OnBroker(ctx context.Context, fn func(ch *amqp.Channel) error) error {
	conn, err := rabbitmq.Dial(ctx, s.BrokerOptions("harness"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // fn has succeeded by now, or has failed
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return fn(ch)
}

// Publish publishes messages and waits for the confirms. Without an exchange the key is the name of a queue.
func (s *System) Publish(ctx context.Context, exchange, key string, messages ...amqp.Publishing) error {
	return s.OnBroker(ctx, func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		for _, m := range messages {
			confirm, err := ch.PublishWithDeferredConfirm(exchange, key, false, false, m)
			if err != nil {
				return err
			}
			if acked, err := confirm.WaitContext(ctx); err != nil || !acked {
				return fmt.Errorf("not confirmed: %w", err)
			}
		}
		return nil
	})
}

// QueueLength returns how many ready messages a queue holds.
func (s *System) QueueLength(ctx context.Context, queue string) (n int, err error) {
	err = s.OnBroker(ctx, func(ch *amqp.Channel) error {
		state, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		n = state.Messages
		return err
	})
	return n, err
}

// Queue is how many messages a queue of the virtual host holds, unacked ones included. Messages is nil while unknown: a
// broker that has just started has no figure yet.
type Queue struct {
	Name     string `json:"name"`
	Messages *int   `json:"messages"`
}

// Queues returns every queue of the virtual host, from the broker's statistics: up to 5 s late.
func (s *System) Queues(ctx context.Context) (queues []Queue, err error) {
	err = Manage(ctx, http.MethodGet, "/api/queues/"+s.VirtualHost, nil, &queues)
	return queues, err
}

// Count returns the single number of a query.
func (s *System) Count(ctx context.Context, query string, args ...any) (n int, err error) {
	err = s.DB.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

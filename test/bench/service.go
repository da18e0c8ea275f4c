package main

import (
	"context"
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
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"

	projectredis "github.com/smap-platform/identity/internal/project/repository/redisdb"
	subscriptionredis "github.com/smap-platform/identity/internal/subscription/repository/redisdb"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/redis"
)

// service is one api and one consumer, the real binaries as real processes, in a vhost and a database of their own.
type service struct {
	settings  settings
	folder    string // of the binaries
	env       environment
	db        *database.DB
	url       string // of the api
	processes []*process
	closers   []func()
}

// environment is what differs from .stack/env.
type environment map[string]string

// list is the form processes are given.
func (e environment) list() (list []string) {
	for _, key := range slices.Sorted(maps.Keys(e)) {
		list = append(list, key+"="+e[key])
	}
	return list
}

// buildBinaries builds api and consumer as production does, into a folder that remove deletes.
func buildBinaries(ctx context.Context) (folder string, remove func(), err error) {
	if folder, err = os.MkdirTemp("", "bench-"); err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(folder) }
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", folder+"/", "./cmd/api", "./cmd/consumer") //nolint:gosec // our own folder
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		remove()
		return "", nil, fmt.Errorf("building api and consumer: %w", err)
	}
	return folder, remove, nil
}

// startService starts both and waits until they are ready. adjust may change the environment, which already names the
// vhost and the database, before the processes see it. close must be called also after an error.
func startService(ctx context.Context, set settings, folder string, adjust func(environment) error) (s *service, err error) {
	s = &service{settings: set, folder: folder}
	v, removeVhost, err := newVhost(ctx, set)
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, removeVhost)
	db, name, drop, err := newDatabase(ctx, set)
	if err != nil {
		return s, err
	}
	s.db = db
	s.closers = append(s.closers, drop, s.forgetStates)
	ports, err := freePorts(2)
	if err != nil {
		return s, err
	}
	// Few connections: many services share one server here, and none has more than a few requests at a time.
	env := environment{
		"RABBITMQ_URL": v.url, "POSTGRES_DB": name, "POSTGRES_MAX_CONNS": "5", "HOST": "127.0.0.1",
		"APP_PORT": ports[0], "CONSUMER_PORT": ports[1],
	}
	if err := adjust(env); err != nil {
		return s, err
	}
	s.env, s.url = env, "http://127.0.0.1:"+ports[0]
	for i, binary := range []string{"api", "consumer"} {
		p, err := startProcess(filepath.Join(folder, binary), env)
		if err != nil {
			return s, err
		}
		s.processes = append(s.processes, p)
		if err := p.awaitReady(ctx, "http://127.0.0.1:"+ports[i]+"/ready"); err != nil {
			return s, err
		}
	}
	return s, nil
}

// close stops the processes and removes what they had.
func (s *service) close() {
	s.stop()
	for _, c := range slices.Backward(s.closers) {
		c()
	}
}

// stop ends the processes and answers the CPU time they have used.
func (s *service) stop() (cpu time.Duration) {
	for _, p := range s.processes {
		cpu += p.stop()
	}
	return cpu
}

// forgetStates deletes from the shared Redis what the consumer has kept there of this database's users and batches.
func (s *service) forgetStates() {
	var users, batches []string
	err := errors.Join(s.ids("users", &users), s.ids("invitation_batches", &batches))
	if err == nil {
		err = s.onRedis(func(ctx context.Context, client *goredis.Client) error {
			for chunk := range slices.Chunk(users, 1000) {
				for i, id := range chunk {
					chunk[i] = subscriptionredis.Key(id)
				}
				if err := client.Unlink(ctx, chunk...).Err(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: states left behind in redis:", err)
	}
	s.forgetProjects(batches...)
}

// forgetProjects deletes what Redis keeps of these projects: nobody would ever end them.
func (s *service) forgetProjects(ids ...string) {
	err := s.onRedis(func(ctx context.Context, client *goredis.Client) error {
		tracker := projectredis.New(client)
		for _, id := range ids {
			if err := tracker.Forget(ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: projects left behind in redis:", err)
	}
}

func (s *service) onRedis(do func(ctx context.Context, client *goredis.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := s.settings.stack.Redis
	client := redis.Open(redis.Options{Addr: r.Addr(), Password: string(r.Password), DB: r.StateDB})
	defer func() { _ = client.Close() }()
	return do(ctx, client)
}

// ids reads the ids of a table.
func (s *service) ids(table string, into *[]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := s.db.Conn(ctx).QueryContext(ctx, "SELECT id FROM "+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		*into = append(*into, id)
	}
	return rows.Err()
}

type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	once sync.Once
	done chan struct{}
}

func startProcess(binary string, env environment) (*process, error) {
	log, err := os.CreateTemp(filepath.Dir(binary), filepath.Base(binary)+"-*.log")
	if err != nil {
		return nil, err
	}
	p := &process{name: filepath.Base(binary), cmd: exec.Command(binary), log: log, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env.list()...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

func (p *process) awaitReady(ctx context.Context, url string) error {
	err := eventually(ctx, func() (bool, error) {
		select {
		case <-p.done:
			return false, errors.New("it has ended by itself")
		default:
		}
		return answersOK(url), nil
	})
	if err == nil {
		return nil
	}
	text, _ := os.ReadFile(p.log.Name())
	return fmt.Errorf("%s is not ready: %w; its log:\n%s", p.name, err, text)
}

// answersOK tells whether url answers 200; a process that does not listen yet does not.
func answersOK(url string) bool {
	response, err := http.Get(url) //nolint:gosec // a port of our own
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// stopPatience is above the default of SHUTDOWN_TIMEOUT.
const stopPatience = 25 * time.Second

// stop asks the process to end, insists if it does not, and answers the CPU time it has used.
func (p *process) stop() time.Duration {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(stopPatience):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		_ = p.log.Close()
	})
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// freePorts answers n ports nobody listens on, as decimal text.
func freePorts(n int) (ports []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}

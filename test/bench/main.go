// Command bench measures this service on the local stack, each figure beside the bare thing it stands on. Ours and bare
// take turns in pairs within one run, because on a shared machine only their ratio means anything. Every row works in a
// virtual host and a database of its own and fails when a message is missing. make bench runs it; docs/benchmarks.md
// says what each row means. make load runs the row that compares nothing.
//
// It does not promise absolute figures, and a missed aim is only printed. It exits 1 when something could not be
// measured.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/test/harness"
)

// bench is one run of the program.
type bench struct {
	config  config.Config     // .stack/env as the api reads it
	pairs   int               // of the rows that compare rates
	seconds time.Duration     // how long a row that measures latency lasts; 0: its default
	samples int               // of timing
	rows    int               // that growth ends with
	profile string            // file for our CPU profile; empty: none
	systems []*harness.System // of the row that is being measured
	report  report
}

// byName is how many of the rows, the last ones, run only by name.
const byName = 3

// rows are the rows, or groups of rows that are measured together.
var rows = []struct {
	name string
	run  func(b *bench, ctx context.Context) error
}{
	{"publish", (*bench).publish},
	{"consume", (*bench).consume},
	{"relay", (*bench).relay},
	{"mail", (*bench).mail},
	{"smtp", (*bench).smtp},
	{"outage", (*bench).outage},
	{"progress", (*bench).progress},
	{"readers", (*bench).readers},
	{"invitations", (*bench).invitations},
	{"batch", (*bench).batch},
	{"lanes", (*bench).lanes},
	{"scheduler", (*bench).scheduler},
	{"hashing", (*bench).hashing},
	{"owed", (*bench).owed},
	{"me", (*bench).me},
	{"timing", (*bench).timing},
	{"start", (*bench).startUp},
	{"load", (*bench).load},
	{"growth", (*bench).growth},
	{"soak", (*bench).soak},
}

func main() {
	if slices.Equal(os.Args[1:], []string{bareMe}) {
		fmt.Fprintln(os.Stderr, serveBareMe())
		os.Exit(1)
	}
	err := run()
	if err := errors.Join(err, harness.RemoveBinaries()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	standard, others := names[:len(names)-byName], names[len(names)-byName:]
	only := flag.String("only", strings.Join(standard, ","), "rows to measure, separated by commas; also: "+strings.Join(others, ", "))
	b := &bench{}
	flag.IntVar(&b.pairs, "pairs", 9, "pairs of ours and bare, at least 1")
	seconds := flag.Int("seconds", 0, "duration of mail, outage, readers, batch, lanes, load and soak (default 20, 80, 20, 40, 40, 60 and 900)")
	flag.IntVar(&b.samples, "samples", 300, "requests of each kind that timing makes for each state in each run, at least 10")
	flag.IntVar(&b.rows, "rows", 1_000_000, "rows of each table that growth ends with")
	flag.StringVar(&b.profile, "profile", "", "file for a CPU profile of ours, of the last pair measured")
	flag.Parse()
	b.seconds = time.Duration(*seconds) * time.Second
	wanted := strings.Split(*only, ",")
	for _, w := range wanted {
		if !slices.Contains(names, w) || b.pairs < 1 || b.samples < 10 {
			return fmt.Errorf("-only %s -pairs %d -samples %d: choose from %s, at least one pair and ten samples",
				w, b.pairs, b.samples, strings.Join(names, ", "))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if b.config, err = config.Load(config.API); err != nil {
		return fmt.Errorf("the stack's environment is needed, run make bench: %w", err)
	}
	fmt.Printf("%d cores, load %s at the start; %s\n", runtime.NumCPU(), loadAverage(), brokerState(ctx))
	for _, r := range rows {
		if !slices.Contains(wanted, r.name) {
			continue
		}
		started := time.Now()
		if err := errors.Join(r.run(b, ctx), b.close()); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		took := time.Since(started).Round(time.Second)
		fmt.Printf("%s: measured in %s, load %s afterwards\n", r.name, took, loadAverage())
	}
	b.report.print(os.Stdout)
	fmt.Printf("\nload %s at the end\n", loadAverage())
	return nil
}

// start starts a System without processes that ends with the row.
func (b *bench) start(ctx context.Context) (*harness.System, error) {
	s, err := harness.Start(ctx, harness.Options{})
	if err == nil {
		b.systems = append(b.systems, s)
	}
	return s, err
}

// production is the environment of the processes where the harness differs from production; and few connections,
// because several services share one server here, and none has more than a few requests at a time.
var production = []string{"POSTGRES_MAX_CONNS=5", "SMTP_TIMEOUT=30s"}

// startService starts an api and a consumer that end with the row, with env over the settings of production
// ("NAME=value").
func (b *bench) startService(ctx context.Context, env ...string) (*harness.System, error) {
	s, err := b.start(ctx)
	if err != nil {
		return nil, err
	}
	env = slices.Concat(production, env)
	s.NewAPI(env...)
	s.NewConsumer(env...)
	return s, s.StartAll(ctx)
}

// close closes the Systems of the row.
func (b *bench) close() (err error) {
	for _, s := range b.systems {
		err = errors.Join(err, s.Close())
	}
	b.systems = nil
	return err
}

// lasting is how long a row lasts whose default is d.
func (b *bench) lasting(d time.Duration) time.Duration { return cmp.Or(b.seconds, d) }

// loadAverage is the 1, 5 and 15 minute load average, "unknown" where the system has none.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// brokerState is what else the broker carries, which costs every figure a part.
func brokerState(ctx context.Context) string {
	var overview struct {
		Version string                 `json:"rabbitmq_version"`
		Totals  struct{ Messages int } `json:"queue_totals"`
		Objects struct{ Queues int }   `json:"object_totals"`
	}
	if err := harness.Manage(ctx, http.MethodGet, "/api/overview", nil, &overview); err != nil {
		return "the broker's state is unknown"
	}
	return fmt.Sprintf("RabbitMQ %s, carrying %d messages in %d queues of others", overview.Version,
		overview.Totals.Messages, overview.Objects.Queues)
}

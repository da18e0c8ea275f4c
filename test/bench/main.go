// Command bench measures this service on the real stack, each figure beside the bare thing it stands on. Ours and
// bare take turns in pairs within one run, because on a shared machine only their ratio means anything. Every row
// works in a vhost and a database of its own and fails when a message is missing. `make bench` starts it; what each
// row means is in docs/benchmarks.md. `make load` starts the one that compares nothing: a minute of everything at once.
//
// It does not promise absolute figures, and none of its exit codes tells a missed aim: it exits 1 only when
// something could not be measured.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/smap-platform/identity/config"
)

// settings is what a row needs to know.
type settings struct {
	stack   config.Config // .stack/env as the api reads it
	pairs   int           // how many pairs of the rows that compare rates
	seconds time.Duration // how long a row that measures latency lasts
	profile string        // where to write ours' CPU profile; empty: none
}

// benchmark is one row, or a group of rows that are measured together.
type benchmark struct {
	name  string
	run   func(ctx context.Context, s settings, t *tables) error
	apart bool // only when it is asked for by name
}

var benchmarks = []benchmark{
	{name: "publish", run: benchPublish},
	{name: "consume", run: benchConsume},
	{name: "relay", run: benchRelay},
	{name: "mail", run: benchMail},
	{name: "outage", run: benchOutage},
	{name: "progress", run: benchProgress},
	{name: "readers", run: benchReaders},
	{name: "invitations", run: benchInvitations},
	{name: "batch", run: benchBatch},
	{name: "load", run: runLoad, apart: true},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var names, wanted []string
	for _, b := range benchmarks {
		names = append(names, b.name)
		if !b.apart {
			wanted = append(wanted, b.name)
		}
	}
	only := flag.String("only", "", "measure only these, separated by commas: "+strings.Join(names, ", "))
	pairs := flag.Int("pairs", 9, "pairs of ours and bare")
	seconds := flag.Int("seconds", 0, "duration of mail, outage, readers, batch and load (default 20, 80, 20, 40 and 60)")
	profile := flag.String("profile", "", "write a CPU profile of ours (publish, consume, relay) to this file")
	flag.Parse()
	if *only != "" {
		wanted = strings.Split(*only, ",")
	}
	for _, w := range wanted {
		if !slices.Contains(names, w) {
			return fmt.Errorf("-only %s: there is no such row; choose from %s", w, strings.Join(names, ", "))
		}
	}
	if *pairs < 1 {
		return fmt.Errorf("-pairs %d: at least one", *pairs)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	stack, err := config.Load(config.API)
	if err != nil {
		return fmt.Errorf("the stack's environment is needed, run make bench: %w", err)
	}
	s := settings{stack: stack, pairs: *pairs, seconds: time.Duration(*seconds) * time.Second, profile: *profile}
	t := &tables{}
	fmt.Printf("%d cores, load %s at the start; %s\n", runtime.NumCPU(), load(), brokerState(ctx))
	for _, b := range benchmarks {
		if !slices.Contains(wanted, b.name) {
			continue
		}
		started := time.Now()
		if err := b.run(ctx, s, t); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		fmt.Printf("%s: measured in %s, load %s afterwards\n", b.name, time.Since(started).Round(time.Second), load())
	}
	t.print(os.Stdout)
	fmt.Printf("\nload %s at the end\n", load())
	return nil
}

// load is the 1, 5 and 15 minute load average, "unknown" where the system does not tell.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

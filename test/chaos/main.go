// Command chaos runs the service under load, breaks one thing after the other, and counts. Two apis and two consumers are
// real processes; every connection to a server, and every client's to an api, goes through a proxy that can delay, cut and
// swallow. A crowd registers, proves addresses and is invited meanwhile, and remembers each answer. In the end each mail
// must have come once that was promised.
//
// It ends with a table, and with exit code 1 when anything was lost, came twice outside the window of RFC 1047, was
// answered falsely or did not recover. make chaos runs it; docs/benchmarks.md shows a run. The same -seed breaks the same
// things at the same places; the moment of each request it does not decide.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/test/harness"
)

func main() {
	err := chaos()
	if err := errors.Join(err, harness.RemoveBinaries()); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func chaos() error {
	long := flag.Bool("long", os.Getenv("CHAOS") == "long", "every fault, and invitations for 100,000 mails")
	only := flag.String("only", "", "faults to inject, separated by semicolons")
	selfTest := flag.Bool("selftest", false, "check that a consumer which acks before its work is found out")
	seed := flag.Uint64("seed", rand.Uint64(), "decides what is drawn by lot")
	o := options{}
	flag.Float64Var(&o.registrations, "registrations", 5, "people a second who register")
	flag.Float64Var(&o.invitations, "invitations", 0, "people a second who are invited (default 10, with -long 80)")
	flag.Parse()
	if o.invitations == 0 {
		o.invitations = map[bool]float64{false: 10, true: 80}[*long]
	}
	zerolog.SetGlobalLevel(zerolog.Disabled) // the proxies' own
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Printf("seed %d\n", *seed)
	if *selfTest {
		return findOut(ctx, *seed, o)
	}
	var err error
	if o.faults, err = choose(*long, *only); err != nil {
		return err
	}
	r, err := start(ctx, *seed, "")
	if r != nil {
		defer r.close()
	}
	if err != nil {
		return err
	}
	rows, err := r.all(ctx, o)
	if err != nil {
		return err
	}
	if wrong := print(os.Stdout, rows, slices.Concat(r.wrong, r.crowd.wrong)); wrong > 0 {
		r.keepLogs()
		return fmt.Errorf("%d things are wrong", wrong)
	}
	return nil
}

// options of a run.
type options struct {
	faults                     []*fault
	registrations, invitations float64 // a second
}

// findOut runs consumers that break a promise, and fails unless mails are lost.
func findOut(ctx context.Context, seed uint64, o options) error {
	consumer, err := ackFirst()
	if err != nil {
		return err
	}
	r, err := start(ctx, seed, consumer)
	if r != nil {
		defer r.close()
	}
	if err != nil {
		return err
	}
	r.patient = 30 * time.Second
	if o.faults, err = choose(false, killedInMail); err != nil {
		return err
	}
	rows, err := r.all(ctx, o)
	if err != nil {
		return err
	}
	print(os.Stdout, rows, nil)
	for _, row := range rows {
		if row.name == killedInMail && row.lost > 0 {
			fmt.Println("\nA consumer that acks before its work was found out.")
			return nil
		}
	}
	return errors.New("a consumer that acks before its work was not found out: this program does not see what is lost")
}

// all runs the faults and judges.
func (r *run) all(ctx context.Context, o options) (rows []*row, err error) {
	for _, f := range o.faults {
		if f.prepare != nil {
			if err := f.prepare(r); err != nil {
				return nil, err
			}
		}
	}
	fmt.Printf("%d faults, %.0f registrations and %.0f invitations a second\n", len(o.faults), o.registrations, o.invitations)
	loaded, stop := context.WithCancel(ctx)
	defer stop()
	r.crowd.start(loaded, o.registrations, o.invitations)
	pause(ctx, 3*time.Second)
	if r.resting, err = r.measure(ctx); err != nil {
		return nil, err
	}
	sections, err := r.inject(ctx, slices.Concat([]*fault{nothing}, o.faults))
	if err != nil {
		return nil, err
	}
	r.settle(ctx, stop)
	t, err := r.find(ctx)
	if err := errors.Join(err, r.checkQueues(ctx), r.checkFlat(ctx)); err != nil {
		return nil, err
	}
	rows, inTime := judge(sections, r.crowd.all(), t)
	if inTime > prompt {
		fmt.Printf("this machine is slow: a mail was prompt within %s, twice the worst with nothing broken\n", seconds(inTime))
	}
	return rows, nil
}

// choose returns the faults of a run, those of a short one unless long, or those named.
func choose(long bool, only string) (chosen []*fault, err error) {
	for _, f := range faults {
		if only == "" && (long || f.short) {
			chosen = append(chosen, f)
		}
	}
	for name := range strings.SplitSeq(only, ";") {
		i := slices.IndexFunc(faults, func(f *fault) bool { return f.name == name })
		switch {
		case name == "":
		case i < 0:
			return nil, fmt.Errorf("there is no fault %q; there are: %s", name, names())
		default:
			chosen = append(chosen, faults[i])
		}
	}
	return chosen, nil
}

func names() string {
	var all []string
	for _, f := range faults {
		all = append(all, f.name)
	}
	return strings.Join(all, "; ")
}

func (r *run) close() {
	if r.System != nil {
		if err := r.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "chaos: closing:", err)
		}
	}
	for _, f := range r.fronts {
		f.close()
	}
	r.links.close()
	r.mail.Close()
}

// keepLogs writes what the processes have logged to files, for those who look for the cause.
func (r *run) keepLogs() {
	dir, err := os.MkdirTemp("", "chaos-")
	for _, p := range r.Processes() {
		text := strings.Join(p.Log.Lines(0), "\n") + "\n"
		err = cmp.Or(err, os.WriteFile(dir+"/"+p.Name+".log", []byte(text), 0o600))
	}
	fmt.Printf("\nthe logs of the processes are in %s %v\n", dir, err)
}

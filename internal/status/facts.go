// Package status knows how the whole service is, whichever process asks: which processes live, what waits in which queue,
// what people are owed. Health, metrics and `consumer status` show the same [Facts], and [Judge] says what is wrong with them.
//
// It does not fetch anything itself: [Sources] does. What could not be found out is unknown, and never a zero.
package status

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/heartbeat"
)

// Facts are what is known of the service at one moment. What is nil is unknown, and Unknown says why.
type Facts struct {
	At        time.Time  `json:"at"`
	Roles     []string   `json:"-"` // of which there should be a process
	Database  Dependency `json:"database"`
	RabbitMQ  Dependency `json:"rabbitmq"`
	Redis     Dependency `json:"redis"`
	Processes []Group    `json:"processes"` // those that live, by role and version
	Troubles  []Trouble  `json:"troubles"`  // what living processes say of servers that this one may find healthy
	Queues    []Queue    `json:"queues"`
	Outbox    *Outbox    `json:"outbox"`
	Mails     *Mails     `json:"mails"`
	Lanes     []Lane     `json:"lanes"`
	// SchedulerLag is how long the subscription has been due that should have been expired first, in seconds; nil also when
	// no process expires any.
	SchedulerLag *float64  `json:"scheduler_lag_seconds"`
	Projects     *Projects `json:"projects"`
	// OldestSnapshot is how long the oldest transaction has been open that keeps deleted rows of the outbox from being
	// vacuumed, in seconds.
	OldestSnapshot *float64 `json:"oldest_snapshot_seconds"`
	Unknown        []string `json:"unknown"`
}

// Dependency is a server, and whether our work can be done there.
type Dependency struct {
	Status string `json:"status"` // healthy, degraded or unhealthy
	Error  string `json:"error,omitempty"`
}

// Healthy is the status of a dependency that does our work.
const Healthy = "healthy"

// Group is the living processes of a role and a version.
type Group struct {
	Role    string    `json:"role"`
	Version string    `json:"version"`
	Count   int       `json:"count"`
	Since   time.Time `json:"since"` // the start of the oldest
}

// Trouble is what processes of a role say of a server.
type Trouble struct {
	Role   string `json:"role"`
	Server string `json:"server"` // rabbitmq or redis
	Error  string `json:"error"`
	Count  int    `json:"count"` // of the processes
}

// Queue is a queue with those that stand behind it. Every figure is nil when unknown, as those of a queue that does not
// exist are.
type Queue struct {
	Name      string `json:"queue"`
	Exists    *bool  `json:"exists"`
	Ready     *int   `json:"ready"`
	Unacked   *int   `json:"unacked"` // known to the management API only
	Consumers *int   `json:"consumers"`
	Retry     *int   `json:"retry"` // on all retry levels
	Dead      *int   `json:"dead"`
}

// Outbox is what waits to be published.
type Outbox struct {
	Rows      int     `json:"rows"`
	Failed    int     `json:"failed"`             // given up
	OldestDue float64 `json:"oldest_due_seconds"` // 0 when none is
}

// Mails is what people wait for.
type Mails struct {
	Owed   int     `json:"owed"`
	Oldest float64 `json:"oldest_owed_seconds"`
}

// Lane is a queue that sends mail, over all processes.
type Lane struct {
	Queue     string     `json:"queue"`
	Paused    bool       `json:"paused"` // by a refusal of the mail server, in at least one process
	Class     string     `json:"class,omitempty"`
	Since     *time.Time `json:"since,omitempty"`
	Processes int        `json:"processes"` // that live and consume the queue, or would
	// Halt is the pause by a person, which is for all processes; Halted is how many of them have said that they obey it.
	Halt   *event.Halt `json:"paused_by_operator,omitempty"`
	Halted int         `json:"obeyed_by,omitempty"`
}

// HaltedFor returns for how long a person has had the lane paused; 0 when nobody has.
func (l Lane) HaltedFor(now time.Time) time.Duration {
	if l.Halt == nil {
		return 0
	}
	return max(0, now.Sub(l.Halt.Since))
}

// Projects are those that this service counts and that are not complete.
type Projects struct {
	Open int     `json:"open"`
	Idle float64 `json:"longest_idle_seconds"` // how long the one stands still that has for longest
}

// Report is what only the process itself knows. It travels with its heartbeat.
type Report struct {
	Lanes        []event.LaneState `json:"lanes,omitempty"`
	SchedulerLag *float64          `json:"scheduler_lag_seconds,omitempty"`
	SchedulerRan *time.Time        `json:"scheduler_ran_at,omitempty"` // the last run without an error; nil: none, or it is off
	Troubles     map[string]string `json:"troubles,omitempty"`         // the error of each server where its work cannot be done
}

// String returns r as a heartbeat carries it.
func (r Report) String() string {
	text, err := json.Marshal(r)
	if err != nil { // of a time beyond the year 9999
		return ""
	}
	return string(text)
}

// Sources are where facts come from. A function that is nil stands for something this process does not ask for.
type Sources struct {
	Now    func() time.Time
	Roles  []string
	Queues []event.Queue

	Database  func(ctx context.Context) Dependency
	RabbitMQ  func(ctx context.Context) Dependency
	Redis     func(ctx context.Context) Dependency
	Processes func(ctx context.Context) ([]heartbeat.Process, error) // alive or not
	Halts     func(ctx context.Context) (map[string]event.Halt, error)
	Depths    func(ctx context.Context, names []string) (map[string]event.Depth, error)
	Unacked   func(ctx context.Context, names []string) (map[string]int, error)
	Outbox    func(ctx context.Context) (Outbox, error)
	Mails     func(ctx context.Context) (Mails, error)
	Projects  func(ctx context.Context) (Projects, error)
	Snapshot  func(ctx context.Context) (*float64, error)
}

// Gather asks all sources, each server at the same time as the others. It returns when ctx ends if the sources do.
func (s Sources) Gather(ctx context.Context) Facts {
	f := Facts{Roles: s.Roles, At: s.Now()}
	var unknown [3][]string
	var servers sync.WaitGroup
	servers.Go(func() { unknown[0] = s.askDatabase(ctx, &f) })
	servers.Go(func() { unknown[1] = s.askBroker(ctx, &f) })
	servers.Go(func() { unknown[2] = s.askRedis(ctx, &f) })
	servers.Wait()
	f.Unknown = slices.Concat(unknown[:]...)
	return f
}

func (s Sources) askDatabase(ctx context.Context, f *Facts) (unknown []string) {
	f.Database = s.Database(ctx)
	processes, err := s.Processes(ctx)
	if err == nil {
		f.addProcesses(processes)
	}
	unknown = note(unknown, "which processes live, and their lanes", err)
	halts, err := s.Halts(ctx)
	if err == nil {
		f.setHalts(halts)
	}
	unknown = note(unknown, "which lanes a person has paused", err)
	outbox, err := s.Outbox(ctx)
	f.Outbox, unknown = known(outbox, err), note(unknown, "the outbox", err)
	mails, err := s.Mails(ctx)
	f.Mails, unknown = known(mails, err), note(unknown, "the mails that are owed", err)
	f.OldestSnapshot, err = s.Snapshot(ctx)
	return note(unknown, "the oldest snapshot", err)
}

func (s Sources) askRedis(ctx context.Context, f *Facts) (unknown []string) {
	f.Redis = s.Redis(ctx)
	projects, err := s.Projects(ctx)
	f.Projects = known(projects, err)
	return note(unknown, "the open projects", err)
}

func (s Sources) askBroker(ctx context.Context, f *Facts) (unknown []string) {
	f.RabbitMQ = s.RabbitMQ(ctx)
	var names, main []string
	for _, q := range s.Queues {
		names, main = append(names, q.Names()...), append(main, q.Name)
	}
	depths, err := s.Depths(ctx, names)
	unknown = note(unknown, "how full the queues are", err)
	var held map[string]int
	if s.Unacked != nil {
		held, err = s.Unacked(ctx, main)
		unknown = note(unknown, "how many messages are unacknowledged", err)
	}
	for _, q := range s.Queues {
		f.Queues = append(f.Queues, queueOf(q, depths, held))
	}
	return unknown
}

// queueOf returns what is known of q. depths is nil when nothing is.
func queueOf(q event.Queue, depths map[string]event.Depth, held map[string]int) Queue {
	found := Queue{Name: q.Name}
	if n, ok := held[q.Name]; ok {
		found.Unacked = &n
	}
	if depths == nil {
		return found
	}
	ready := func(name string) *int {
		if d, ok := depths[name]; ok {
			return &d.Ready
		}
		return nil
	}
	main, exists := depths[q.Name]
	found.Exists, found.Ready, found.Dead = &exists, ready(q.Name), ready(q.DeadQueue())
	if exists {
		found.Consumers = &main.Consumers
	}
	for i := range q.Retry.Levels {
		if n := ready(q.RetryQueue(i)); n != nil {
			found.Retry = new(*n + deref(found.Retry))
		}
	}
	return found
}

// addProcesses adds the processes that live, and what they report.
func (f *Facts) addProcesses(all []heartbeat.Process) {
	f.Processes = []Group{}
	f.Lanes = []Lane{}
	f.Troubles = []Trouble{}
	for _, p := range all {
		if !p.Alive(f.At) {
			continue
		}
		f.addProcess(p)
		var r Report
		if json.Unmarshal([]byte(p.Report), &r) != nil { // of another release
			continue
		}
		for _, lane := range r.Lanes {
			f.addLane(lane)
		}
		for server, err := range r.Troubles {
			f.addTrouble(Trouble{p.Role, server, err, 1})
		}
		if r.SchedulerLag != nil {
			f.SchedulerLag = new(max(*r.SchedulerLag, deref(f.SchedulerLag)))
		}
	}
	slices.SortFunc(f.Processes, func(a, b Group) int {
		return strings.Compare(a.Role+" "+a.Version, b.Role+" "+b.Version)
	})
	slices.SortFunc(f.Troubles, func(a, b Trouble) int {
		return strings.Compare(a.Server+" "+a.Role+" "+a.Error, b.Server+" "+b.Role+" "+b.Error)
	})
	slices.SortFunc(f.Lanes, byQueue)
}

func (f *Facts) addProcess(p heartbeat.Process) {
	i := slices.IndexFunc(f.Processes, func(g Group) bool { return g.Role == p.Role && g.Version == p.Version })
	if i < 0 {
		f.Processes = append(f.Processes, Group{Role: p.Role, Version: p.Version, Since: p.StartedAt})
		i = len(f.Processes) - 1
	}
	g := &f.Processes[i]
	g.Count++
	if p.StartedAt.Before(g.Since) {
		g.Since = p.StartedAt
	}
}

// addTrouble counts those that say the same.
func (f *Facts) addTrouble(t Trouble) {
	same := func(o Trouble) bool { return o.Role == t.Role && o.Server == t.Server && o.Error == t.Error }
	if i := slices.IndexFunc(f.Troubles, same); i >= 0 {
		f.Troubles[i].Count += t.Count
		return
	}
	f.Troubles = append(f.Troubles, t)
}

// addLane joins the lanes of all processes: one that is paused anywhere is paused, since the first of them is.
func (f *Facts) addLane(s event.LaneState) {
	i := slices.IndexFunc(f.Lanes, func(l Lane) bool { return l.Queue == s.Queue })
	if i < 0 {
		f.Lanes = append(f.Lanes, Lane{Queue: s.Queue})
		i = len(f.Lanes) - 1
	}
	lane := &f.Lanes[i]
	lane.Processes++
	if s.Paused && (!lane.Paused || s.Since.Before(*lane.Since)) {
		lane.Paused, lane.Class, lane.Since = true, s.Class, &s.Since
	}
	if s.Halt != nil {
		lane.Halt = s.Halt
		lane.Halted++
	}
}

// setHalts replaces what processes have reported of pauses by people, which is older.
func (f *Facts) setHalts(halts map[string]event.Halt) {
	for i := range f.Lanes {
		f.Lanes[i].Halt = nil
	}
	for queue, h := range halts {
		i := slices.IndexFunc(f.Lanes, func(l Lane) bool { return l.Queue == queue })
		if i < 0 {
			f.Lanes = append(f.Lanes, Lane{Queue: queue})
			i = len(f.Lanes) - 1
		}
		f.Lanes[i].Halt = &h
	}
	for i := range f.Lanes {
		if f.Lanes[i].Halt == nil {
			f.Lanes[i].Halted = 0
		}
	}
	slices.SortFunc(f.Lanes, byQueue)
}

func byQueue(a, b Lane) int { return strings.Compare(a.Queue, b.Queue) }

// Lanes returns what is known of the lanes of queues from processes and from the pauses by people.
func Lanes(queues []string, processes []heartbeat.Process, halts map[string]event.Halt, now time.Time) []Lane {
	f := Facts{At: now}
	f.addProcesses(processes)
	for _, queue := range queues {
		if !slices.ContainsFunc(f.Lanes, func(l Lane) bool { return l.Queue == queue }) {
			f.Lanes = append(f.Lanes, Lane{Queue: queue})
		}
	}
	f.setHalts(halts)
	return f.Lanes
}

// Alive returns how many processes of role live. It is 0 also while they are unknown.
func (f Facts) Alive(role string) (n int) {
	for _, g := range f.Processes {
		if g.Role == role {
			n += g.Count
		}
	}
	return n
}

func known[T any](v T, err error) *T {
	if err != nil {
		return nil
	}
	return &v
}

func note(unknown []string, what string, err error) []string {
	if err == nil {
		return unknown
	}
	return append(unknown, fmt.Sprintf("%s: %v", what, err))
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

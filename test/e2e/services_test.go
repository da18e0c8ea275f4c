//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// services stand in for the services that work on a project: Project publishes it, Collector finds its items, Analytics
// works on them and reports each by HTTP. They retry, as services do.
type services struct {
	t      *testing.T
	s      *harness.TestSystem
	client *harness.Client // without cookies
	work   time.Duration   // how long Analytics works on an item

	mu       sync.Mutex
	projects map[string]*project
	pending  map[string][]marked // by project: what the next call of Analytics reports
	sent     chan struct{}       // closed once that call has returned
	ledger   []marked            // everything Analytics has reported, oldest first
}

// project is one in the making. Its beginning decides how it gets into Redis.
type project struct {
	id, owner string
	items     int
	begin     beginning
}

type beginning int

const (
	byEvent     beginning = iota // by project.created alone
	byProject                    // the Project service has written the hash before, with fields of its own
	byCollector                  // the Collector initialises it as well
)

// marked is an item as Analytics reported it.
type marked struct {
	project string
	ItemID  string `json:"item_id"`
	Failed  bool   `json:"failed"`
	at      time.Time
}

// What happens to an item depends on its number.
func fails(i int) bool    { return i%5 == 0 }              // at first
func repaired(i int) bool { return fails(i) && i%10 == 0 } // on a second try
func twice(i int) bool    { return i%3 == 0 }              // is delivered twice
func tooLate(i int) bool  { return i%7 == 0 && !fails(i) } // has succeeded, and a late copy of it fails
func (p *project) errors() (n int) {
	for i := range p.items {
		if fails(i) && !repaired(i) {
			n++
		}
	}
	return n
}

// startServices starts Collector and Analytics.
func startServices(t *testing.T, s *harness.TestSystem, work time.Duration) *services {
	t.Helper()
	n := &services{
		t: t, s: s, client: s.Client(), work: work,
		projects: map[string]*project{}, pending: map[string][]marked{}, sent: make(chan struct{}),
	}
	consume(t, s, "collector.project.created", "project.created", 4, n.collect)
	consume(t, s, "analytics.data.collected", "data.collected", 16, n.analyse)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var reporting sync.WaitGroup
	reporting.Go(func() { n.reportMarks(ctx) })
	t.Cleanup(func() { stop(); reporting.Wait() })
	return n
}

// create publishes a project as the Project service does: a plain uuid for an event id, a flat payload, null lists.
func (n *services) create(owner string, items int, begin beginning) *project {
	n.t.Helper()
	p := &project{id: uuid.NewString(), owner: owner, items: items, begin: begin}
	n.mu.Lock()
	n.projects[p.id] = p
	n.mu.Unlock()
	if begin == byProject {
		fields := map[string]any{"status": "INITIALIZING", "total": 0, "done": 0, "errors": 0}
		maps.Copy(fields, foreignFields)
		require.NoError(n.t, n.s.Redis.HSet(n.t.Context(), projectKey(p.id), fields).Err())
	}
	body := jsonOf(n.t, map[string]any{
		"event_id": uuid.NewString(), "timestamp": time.Now().UTC().Format(time.RFC3339),
		"payload": map[string]any{
			"project_id": p.id, "user_id": owner, "brand_name": "Brand", "brand_keywords": []string{"brand"},
			"competitor_names": nil, "competitor_keywords_map": map[string][]string{},
			"date_range": map[string]string{"from": "2026-01-01", "to": "2026-01-31"},
		},
	})
	n.s.Publish(harness.Exchange, "project.created", amqp.Publishing{
		ContentType:  "application/json",
		DeliveryMode: amqp.Persistent,
		Body:         []byte(body),
	})
	return p
}

// foreignFields are the fields of other services in the shared hash.
var foreignFields = map[string]any{"crawl_total": "0", "crawl_done": "0", "crawl_errors": "0", "analyze_total": "0"}

func projectKey(id string) string { return "smap:proj:" + id }

// collect is the Collector. It knows the number of items only once it has found them all.
func (n *services) collect(ctx context.Context, e event) error {
	var created struct {
		Payload struct {
			ProjectID string `json:"project_id"`
			UserID    string `json:"user_id"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(e.Body, &created); err != nil {
		return err
	}
	n.mu.Lock()
	p := n.projects[created.Payload.ProjectID]
	n.mu.Unlock()
	if p.begin == byCollector {
		if err := n.init(ctx, p); err != nil {
			return err
		}
	}
	if err := n.total(ctx, p, p.items/2, false); err != nil {
		return err
	}
	found := make([]amqp.Publishing, p.items)
	for i := range found {
		found[i] = dataCollected(p, i)
	}
	if err := n.s.System.Publish(ctx, harness.Exchange, "data.collected", found...); err != nil {
		return err
	}
	return n.total(ctx, p, p.items, true)
}

// itemID is the event id of an item's data.collected: the same whenever it is published again.
func itemID(p *project, i int) string {
	sum := sha256.Sum256([]byte(p.id + "/" + strconv.Itoa(i)))
	return "evt_" + hex.EncodeToString(sum[:6])
}

func dataCollected(p *project, i int) amqp.Publishing {
	body, err := json.Marshal(map[string]any{
		"event_id": itemID(p, i), "event_type": "data.collected", "timestamp": time.Now().UTC().Format(time.RFC3339),
		"payload": map[string]any{
			"project_id": p.id, "job_id": p.id + "-job", "platform": "youtube", "minio_path": "crawl/" + itemID(p, i) + ".json",
			"content_count": 20, "batch_index": i, "task_type": "research_and_crawl",
		},
	})
	if err != nil {
		panic(err) // strings and numbers
	}
	return amqp.Publishing{ContentType: "application/json", DeliveryMode: amqp.Persistent, Body: body}
}

// analyse is Analytics.
func (n *services) analyse(ctx context.Context, e event) error {
	var collected struct {
		Payload struct {
			ProjectID string `json:"project_id"`
			Index     int    `json:"batch_index"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(e.Body, &collected); err != nil {
		return err
	}
	select {
	case <-time.After(n.work):
	case <-ctx.Done():
		return ctx.Err()
	}
	i := collected.Payload.Index
	tries := []bool{fails(i)} // failed?
	if twice(i) {
		tries = append(tries, fails(i))
	}
	if repaired(i) {
		tries = append(tries, false)
	}
	if tooLate(i) {
		tries = append(tries, true)
	}
	for _, failed := range tries {
		if err := n.mark(ctx, marked{project: collected.Payload.ProjectID, ItemID: e.EventID, Failed: failed}); err != nil {
			return err
		}
	}
	return nil
}

// mark adds an item to the next call and waits until that has returned.
func (n *services) mark(ctx context.Context, m marked) error {
	n.mu.Lock()
	n.pending[m.project] = append(n.pending[m.project], m)
	sent := n.sent
	n.mu.Unlock()
	select {
	case <-sent:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reportMarks makes the calls of Analytics, each with the items that have come meanwhile.
func (n *services) reportMarks(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n.mu.Lock()
		pending, sent := n.pending, n.sent
		n.pending, n.sent = map[string][]marked{}, make(chan struct{})
		n.mu.Unlock()
		for id, items := range pending {
			if n.items(ctx, id, items) != nil {
				return // the test is over
			}
			n.mu.Lock()
			for _, m := range items {
				m.at = time.Now()
				n.ledger = append(n.ledger, m)
			}
			n.mu.Unlock()
		}
		close(sent)
	}
}

// marks is how many items Analytics has reported.
func (n *services) marks() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.ledger)
}

// waitMarks waits until Analytics has reported so many items.
func (n *services) waitMarks(wanted int) {
	n.t.Helper()
	harness.Soon(n.t, func() error {
		if have := n.marks(); have < wanted {
			return fmt.Errorf("Analytics has reported %d of %d", have, wanted)
		}
		return nil
	})
}

// repeatSince repeats what was reported since then: Redis may have lost its last second (docs/adr/0007).
func (n *services) repeatSince(since time.Time) {
	n.t.Helper()
	ctx := n.t.Context()
	n.mu.Lock()
	projects, ledger := slices.Collect(maps.Values(n.projects)), slices.Clone(n.ledger)
	n.mu.Unlock()
	for _, p := range projects {
		require.NoError(n.t, n.init(ctx, p))
	}
	for _, m := range ledger {
		if m.at.After(since) {
			require.NoError(n.t, n.items(ctx, m.project, []marked{m}))
		}
	}
}

func (n *services) init(ctx context.Context, p *project) error {
	return n.call(ctx, http.MethodPost, p.id, "", map[string]any{"user_id": p.owner})
}

func (n *services) total(ctx context.Context, p *project, total int, final bool) error {
	return n.call(ctx, http.MethodPut, p.id, "/total", map[string]any{"total": total, "final": final})
}

func (n *services) items(ctx context.Context, id string, items []marked) error {
	return n.call(ctx, http.MethodPost, id, "/items", map[string]any{"items": items})
}

// call repeats a call of the internal API until it succeeds: an api or Redis may be down, or the project unknown yet.
func (n *services) call(ctx context.Context, method, id, path string, body any) error {
	return harness.Eventually(ctx, func() error {
		a, err := n.client.Call(ctx, method, "/internal/projects/"+id+path, body, "X-Internal-Key", os.Getenv("INTERNAL_KEY"))
		switch {
		case err != nil:
			return err
		case a.Status == http.StatusOK:
			return nil
		case a.Status == http.StatusServiceUnavailable, a.ErrorCode == 140002:
			return errors.New(a.Raw)
		}
		n.t.Errorf("a service was refused: %s %s: %d %s", method, path, a.Status, a.Raw)
		return nil
	})
}

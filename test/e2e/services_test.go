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

// neighbours are stand-ins for the services that work on a project: Project publishes it, Collector finds its items,
// Analytics works on them and says by HTTP what became of each. They keep trying, as services do.
type neighbours struct {
	t      *testing.T
	s      *harness.TestSystem
	client *harness.Client // without cookies
	work   time.Duration   // that Analytics has with an item

	mu       sync.Mutex
	projects map[string]*project
	pending  map[string][]marked // by project: what the next call of Analytics tells
	told     chan struct{}       // closed when that call has been answered
	ledger   []marked            // everything Analytics has told, oldest first
}

// project is one in the making. How it comes into Redis depends on its beginning.
type project struct {
	id, owner string
	items     int
	begin     beginning
}

type beginning int

const (
	byEvent     beginning = iota // only project.created tells of it
	byProject                    // the Project service has written the hash already, as it does, with fields of its own
	byCollector                  // the Collector says it as well
)

// marked is an item as Analytics told it.
type marked struct {
	project string
	ItemID  string `json:"item_id"`
	Failed  bool   `json:"failed"`
	at      time.Time
}

// What becomes of an item depends on its number.
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

// startNeighbours begins Collector and Analytics.
func startNeighbours(t *testing.T, s *harness.TestSystem, work time.Duration) *neighbours {
	t.Helper()
	n := &neighbours{
		t: t, s: s, client: s.Client(), work: work,
		projects: map[string]*project{}, pending: map[string][]marked{}, told: make(chan struct{}),
	}
	consume(t, s, "collector.project.created", "project.created", 4, n.collect)
	consume(t, s, "analytics.data.collected", "data.collected", 16, n.analyse)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var telling sync.WaitGroup
	telling.Go(func() { n.tell(ctx) })
	t.Cleanup(func() { stop(); telling.Wait() })
	return n
}

// create is the Project service: a plain uuid for an event id, a flat payload, lists that may be null.
func (n *neighbours) create(owner string, items int, begin beginning) *project {
	n.t.Helper()
	p := &project{id: uuid.NewString(), owner: owner, items: items, begin: begin}
	n.mu.Lock()
	n.projects[p.id] = p
	n.mu.Unlock()
	if begin == byProject {
		fields := map[string]any{"status": "INITIALIZING", "total": 0, "done": 0, "errors": 0}
		maps.Copy(fields, theirs)
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
	n.s.Publish(harness.Exchange, "project.created", amqp.Publishing{ContentType: "application/json", DeliveryMode: amqp.Persistent, Body: []byte(body)})
	return p
}

// theirs are fields of the neighbours in the hash we share.
var theirs = map[string]any{"crawl_total": "0", "crawl_done": "0", "crawl_errors": "0", "analyze_total": "0"}

func projectKey(id string) string { return "smap:proj:" + id }

// collect is the Collector. It knows the number of items only when it has found them all.
func (n *neighbours) collect(ctx context.Context, e event) error {
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
func (n *neighbours) analyse(ctx context.Context, e event) error {
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

// mark hands an item to the next call and waits until that has been answered.
func (n *neighbours) mark(ctx context.Context, m marked) error {
	n.mu.Lock()
	n.pending[m.project] = append(n.pending[m.project], m)
	told := n.told
	n.mu.Unlock()
	select {
	case <-told:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tell makes the calls of Analytics, as many items in each as have come meanwhile.
func (n *neighbours) tell(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n.mu.Lock()
		pending, told := n.pending, n.told
		n.pending, n.told = map[string][]marked{}, make(chan struct{})
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
		close(told)
	}
}

// marks is how much Analytics has told.
func (n *neighbours) marks() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.ledger)
}

// waitMarks waits until Analytics has told so much.
func (n *neighbours) waitMarks(wanted int) {
	n.t.Helper()
	harness.Soon(n.t, func() error {
		if have := n.marks(); have < wanted {
			return fmt.Errorf("Analytics has told %d of %d", have, wanted)
		}
		return nil
	})
}

// sayAgain repeats what was said since then: Redis may have lost its last second (docs/adr/0007).
func (n *neighbours) sayAgain(since time.Time) {
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

func (n *neighbours) init(ctx context.Context, p *project) error {
	return n.call(ctx, http.MethodPost, p.id, "", map[string]any{"user_id": p.owner})
}

func (n *neighbours) total(ctx context.Context, p *project, total int, final bool) error {
	return n.call(ctx, http.MethodPut, p.id, "/total", map[string]any{"total": total, "final": final})
}

func (n *neighbours) items(ctx context.Context, id string, items []marked) error {
	return n.call(ctx, http.MethodPost, id, "/items", map[string]any{"items": items})
}

// call makes a call of the internal API until it is answered: an api or Redis may be away, or the project not there yet.
func (n *neighbours) call(ctx context.Context, method, id, path string, body any) error {
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
		n.t.Errorf("a neighbour was refused: %s %s: %d %s", method, path, a.Status, a.Raw)
		return nil
	})
}

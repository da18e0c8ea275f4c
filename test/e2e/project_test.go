//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// progress is a project as readers see it.
type progress struct {
	ProjectID string  `json:"project_id"`
	Status    string  `json:"status"`
	Total     int     `json:"total"`
	Done      int     `json:"done"`
	Errors    int     `json:"errors"`
	Percent   float64 `json:"percent"`
}

// doneProgress is a project with so many items, all done, so many of them in error.
func doneProgress(id string, items, errors int) progress {
	return progress{ProjectID: id, Status: "DONE", Total: items, Done: items, Errors: errors, Percent: 100}
}

// waitDone waits until the owner sees that the project is done, and returns what they see.
func waitDone(t *testing.T, reader *harness.Client, id string) (have progress) {
	t.Helper()
	harness.Soon(t, func() (err error) {
		have, err = readProgress(t, reader, id)
		if err == nil && have.Status != "DONE" {
			err = fmt.Errorf("%+v", have)
		}
		return err
	})
	return have
}

// readProgress reads a project once.
func readProgress(t *testing.T, reader *harness.Client, id string) (have progress, err error) {
	a, err := reader.Call(t.Context(), http.MethodGet, "/projects/"+id+"/progress", nil)
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("%d %s", a.Status, a.Raw)
	}
	if err != nil {
		return have, err
	}
	return have, json.Unmarshal(a.Data, &have)
}

// completed is the data of job.completed.
type completed struct {
	ProjectID   string    `json:"project_id"`
	UserID      string    `json:"user_id"`
	Total       int       `json:"total"`
	Done        int       `json:"done"`
	Errors      int       `json:"errors"`
	CompletedAt time.Time `json:"completed_at"`
}

// announcements returns every job.completed of a project. It waits for the first one, and for a later message of our
// own. A relay that is killed may publish one twice: then they are equal.
func announcements(t *testing.T, s *harness.TestSystem, recorded *eventRecorder, id string) []event {
	t.Helper()
	recorded.wait("job.completed", id)
	s.OutboxEmpty()
	last := "last-" + harness.Email()
	s.Publish(harness.Exchange, "test.last", amqp.Publishing{Body: []byte(last)})
	recorded.wait("test.last", last)
	return slices.DeleteFunc(recorded.events("job.completed"), func(e event) bool {
		var c completed
		require.NoError(t, e.data(&c))
		return c.ProjectID != id
	})
}

var jobID = regexp.MustCompile(`^evt_[0-9a-f-]{36}$`)

// announced checks that a project's end was announced once, and returns the announcement.
func announced(t *testing.T, s *harness.TestSystem, recorded *eventRecorder, id string) (c completed) {
	t.Helper()
	events := announcements(t, s, recorded, id)
	for _, e := range events {
		require.Equal(t, events[0].EventID, e.EventID, "two ends of one project")
		require.Equal(t, string(events[0].Body), string(e.Body))
	}
	e := events[0]
	require.Regexp(t, jobID, e.EventID)
	require.Equal(t, e.EventID, e.MessageId)
	require.Equal(t, "job.completed", e.Type)
	require.Equal(t, "identity", e.Payload.Service)
	require.Equal(t, amqp.Persistent, e.DeliveryMode)
	require.NoError(t, e.data(&c))
	require.WithinDuration(t, time.Now(), c.CompletedAt, 2*harness.Patience)
	return c
}

// TestProjects follows projects through all services that work on them.
func TestProjects(t *testing.T) {
	t.Parallel()
	t.Run("from project.created to job.completed", choreography)
	t.Run("many workers and streams see one exact end", exactEnd)
	t.Run("a thousand workers count exactly", thousandWorkers)
}

// choreography runs several projects at once from project.created over data.collected to job.completed, with people who
// watch.
func choreography(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	recorded := recordEvents(t, s)
	n := startServices(t, s, 150*time.Millisecond)
	an, binh := verified(t, s), verified(t, s)
	channels := subscribeChannels(t, s, an.id)
	var projects []*project
	for i, begin := range []beginning{byEvent, byProject, byCollector, byEvent, byProject} {
		projects = append(projects, n.create([]*person{an, binh}[i%2].id, 40+10*i, begin))
	}
	watched := projects[2] // the first may be done before it is watched
	live := watch(t, s, an, watched.id)

	for _, p := range projects {
		owner, other := an, binh
		if p.owner == binh.id {
			owner, other = binh, an
		}
		have := waitDone(t, owner.client, p.id)
		want(t, http.StatusNotFound)(other.client.Call(t.Context(), http.MethodGet, "/projects/"+p.id+"/progress", nil))
		c := announced(t, s, recorded, p.id)
		require.Equal(t, 1, len(announcements(t, s, recorded, p.id)), "nothing was killed")
		require.Equal(t, p.items, c.Total)
		require.Equal(t, p.items, c.Done)
		require.GreaterOrEqual(t, c.Errors, have.Errors, "what failed at the finish line may be repaired after it")
		if p.begin != byProject { // there the project can end before project.created names the owner
			require.Equal(t, p.owner, c.UserID)
		}
	}
	total := 0
	for _, p := range projects {
		for i := range p.items {
			total++
			for _, again := range []bool{twice(i), repaired(i), tooLate(i)} {
				if again {
					total++
				}
			}
		}
	}
	n.waitMarks(total)
	for _, p := range projects {
		checkCounts(t, s, p)
	}
	live.check(t, watched)
	channels.check(t, watched)
	repairAfterTheEnd(t, n, s, recorded, an, watched)
	refused(t, http.StatusNotFound, 140002)(an.client.Call(t.Context(), http.MethodGet, "/projects/none/progress", nil))
	checkReports(t, s, map[string]report{
		watched.id: {Status: "DONE", UserID: an.id},
		"none":     {Status: "NOT_FOUND"},
	})
}

// report is what other services see of a project.
type report struct {
	Status string
	UserID string `json:"user_id"`
}

func checkReports(t *testing.T, s *harness.TestSystem, want map[string]report) {
	t.Helper()
	for id, r := range want {
		a, err := harness.Expect(http.StatusOK)(s.Client().Call(t.Context(), http.MethodGet, "/internal/projects/"+id, nil,
			"X-Internal-Key", os.Getenv("INTERNAL_KEY")))
		require.NoError(t, err)
		var have report
		require.NoError(t, json.Unmarshal(a.Data, &have))
		require.Equal(t, r, have)
	}
}

// checkCounts checks the project's keys in Redis, spelled as another service would.
func checkCounts(t *testing.T, s *harness.TestSystem, p *project) {
	t.Helper()
	ctx := t.Context()
	hash, err := s.Redis.HGetAll(ctx, projectKey(p.id)).Result()
	require.NoError(t, err)
	require.Equal(t, "DONE", hash["status"])
	for field, wanted := range map[string]int{"total": p.items, "done": p.items, "errors": p.errors()} {
		require.Equal(t, fmt.Sprint(wanted), hash[field], "%s of %v", field, hash)
	}
	if p.begin == byProject {
		for field, value := range foreignFields {
			require.Equal(t, value, hash[field], "a field of another service")
		}
	}
	owner, err := s.Redis.Get(ctx, "smap:user:"+p.id).Result()
	require.NoError(t, err)
	require.Equal(t, p.owner, owner)
	for key, wanted := range map[string]int{":items": p.items, ":failed": p.errors()} {
		n, err := s.Redis.SCard(ctx, projectKey(p.id)+key).Result()
		require.NoError(t, err)
		require.EqualValues(t, wanted, n, "%s", key)
	}
	for _, key := range []string{projectKey(p.id), projectKey(p.id) + ":items", "smap:user:" + p.id} {
		life, err := s.Redis.TTL(ctx, key).Result()
		require.NoError(t, err)
		require.InDelta(t, (7 * 24 * time.Hour).Seconds(), life.Seconds(), 600, "%s", key) // from its last item on
	}
	open, err := s.Redis.ZScore(ctx, "identity:open-projects", p.id).Result()
	require.Error(t, err, "it has been announced, and is open since %f", open)
}

// repairAfterTheEnd lets a failed item succeed when the project is done. It is repaired, and nothing is announced
// again.
func repairAfterTheEnd(
	t *testing.T, n *services, s *harness.TestSystem, recorded *eventRecorder, owner *person, p *project,
) {
	t.Helper()
	i := 0
	for !fails(i) || repaired(i) {
		i++
	}
	require.NoError(t, n.items(t.Context(), p.id, []marked{{ItemID: itemID(p, i)}}))
	have, err := readProgress(t, owner.client, p.id)
	require.NoError(t, err)
	require.Equal(t, doneProgress(p.id, p.items, p.errors()-1), have)
	require.Equal(t, 1, len(announcements(t, s, recorded, p.id)))
}

// projectsOnABadDay kills consumers, apis and Redis, and flushes its scripts, all while projects are worked on.
func projectsOnABadDay(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	recorded := recordEvents(t, s)
	n := startServices(t, s, 150*time.Millisecond)
	an := verified(t, s)
	var projects []*project
	for i := range 6 {
		projects = append(projects, n.create(an.id, 80, beginning(i%3)))
	}
	dies := func(p *harness.Process) {
		t.Helper()
		require.NoError(t, p.Kill())
		require.NoError(t, p.Start(t.Context()))
	}
	n.waitMarks(60)
	dies(s.Consumers[0])
	n.waitMarks(150)
	dies(s.APIs[0])
	n.waitMarks(200)
	require.NoError(t, s.Redis.ScriptFlush(context.WithoutCancel(t.Context())).Err())
	n.waitMarks(300)
	before := time.Now().Add(-3 * time.Second)
	harness.Inject(t, harness.Redis.Kill)
	n.unavailableMeanwhile(t, an)
	require.NoError(t, harness.Redis.Restart(t.Context()))
	n.repeatSince(before)
	n.waitMarks(450)
	dies(s.APIs[1])
	dies(s.Consumers[1])

	for _, p := range projects {
		waitDone(t, an.client, p.id)
		c := announced(t, s, recorded, p.id)
		require.Equal(t, p.items, c.Total)
		require.Equal(t, p.items, c.Done)
	}
	harness.Soon(t, func() error { return lengthIs(s, "analytics.data.collected", 0) })
	for _, p := range projects {
		harness.Soon(t, func() error { // the last repairs may still be on their way
			have, err := readProgress(t, an.client, p.id)
			if wanted := p.errors(); err == nil && have.Errors != wanted {
				err = fmt.Errorf("%d errors, wanted %d", have.Errors, wanted)
			}
			return err
		})
		checkCounts(t, s, p)
	}
	require.Equal(t, len(projects), s.Count("SELECT count(*) FROM project_completions"))
	for _, p := range s.Processes() {
		s.Ready(p)
	}
}

// unavailableMeanwhile checks that without Redis progress is unavailable and everything else works.
func (n *services) unavailableMeanwhile(t *testing.T, p *person) {
	t.Helper()
	a := want(t, http.StatusServiceUnavailable)(p.client.Call(t.Context(), http.MethodGet, "/projects/some/progress", nil))
	require.NotContains(t, a.Raw, "redis")
	want(t, http.StatusOK)(p.client.Login(t.Context(), p.email, harness.Password, false))
}

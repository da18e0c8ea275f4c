package http

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/status"
)

const hostile = `<img src=x onerror="alert(1)">`

// sections is what the pages of lanes, people, projects and the record ask.
type sections struct {
	lanes   []status.Lane
	person  operations.Person
	batches operations.Part[operations.Batch]
	found   operations.Part[operations.Project]
	project operations.Project
	entries operations.Part[audit.Entry]
	failure error

	asked  []string // what was asked for, or done
	filter audit.Filter
}

func (s *sections) note(words ...string) { s.asked = append(s.asked, strings.Join(words, " ")) }

func (s *sections) Pause(ctx context.Context, queue, reason string) (operations.LanePause, error) {
	s.note(audit.OriginOf(ctx).Operator, "pauses", queue, reason)
	return operations.LanePause{Queue: queue}, s.failure
}

func (s *sections) Resume(ctx context.Context, queue string) (operations.LanePause, error) {
	s.note(audit.OriginOf(ctx).Operator, "resumes", queue)
	return operations.LanePause{Queue: queue, By: hostile, Since: evening}, s.failure
}

func (s *sections) List(context.Context) ([]status.Lane, error) { return s.lanes, s.failure }

func (s *sections) ByAddress(_ context.Context, address string) (operations.Person, error) {
	s.note("looks up", address)
	return s.person, s.failure
}

func (s *sections) ByID(_ context.Context, id string) (operations.Person, error) {
	s.note("shows", id)
	return s.person, s.failure
}

func (s *sections) Do(ctx context.Context, verb operations.Verb, id, reason string) (string, error) {
	s.note(audit.OriginOf(ctx).Operator, string(verb), id, reason)
	return "It is done.", s.failure
}

func (s *sections) Batches(_ context.Context, state, after string, _ int) (operations.Part[operations.Batch], error) {
	s.note("batches", state, after)
	return s.batches, s.failure
}

func (s *sections) Projects(_ context.Context, state, after string, _ int) (operations.Part[operations.Project], error) {
	s.note("projects", state, after)
	return s.found, s.failure
}

func (s *sections) Project(_ context.Context, id string) (operations.Project, error) {
	s.note("project", id)
	return s.project, s.failure
}

func (s *sections) Entries(_ context.Context, f audit.Filter, after string) (operations.Part[audit.Entry], error) {
	s.filter = f
	s.note("entries", string(f.Action), f.Operator, f.SubjectID, f.UserID, after)
	return s.entries, s.failure
}

// withSections has a console show what s has.
func withSections(s *sections) func(*Options) {
	return func(o *Options) { o.Lanes, o.People, o.Projects, o.Record = s, s, s, s }
}

// post sends a form as the browser does, in the name of an operator.
func (s *site) post(t *testing.T, path string, pairs ...string) answer {
	t.Helper()
	form := url.Values{"form": {s.formKey()}, "by": {"an"}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return s.ask(t, http.MethodPost, path, form)
}

// shows requires that a page says all of this, and runs nothing of it.
func (a answer) shows(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		require.Contains(t, a.body, text)
	}
	require.NotContains(t, a.body, "<img")
}

func TestLanes(t *testing.T) {
	t.Parallel()
	since := evening.Add(-90 * time.Minute)
	halt := &event.Halt{By: "binh" + hostile, Reason: hostile, Since: since}
	asked := &sections{lanes: []status.Lane{
		{Queue: "identity.email", Processes: 2, Halted: 1, Halt: halt},
		{Queue: "identity.invitation", Processes: 1, Paused: true, Class: "smtp_connect", Since: &since},
		{Queue: "identity.legacy"},
	}}
	s := serve(t, Access{Token: token}, withSections(asked))
	s.facts.Lanes = asked.lanes
	s.facts.Queues = []status.Queue{{Name: "identity.email", Ready: new(12)}}
	s.login(t)

	s.get(t, "/lanes").shows(t, "paused by binh&lt;img", "1 h 30 min ago", "12 ready, unknown on retry levels", "smtp_connect",
		"unknown: no living process sends it", "1 of them had stopped", `action="/lanes/resume"`, `action="/lanes/pause"`)
	s.get(t, "/about").shows(t, "binh&lt;img", "has paused a lane since", "2026-11-27 18:30:00", "the mail server refuses us")

	require.Equal(t, "/lanes", s.post(t, "/lanes/pause", "queue", "identity.legacy", "reason", "why", "back", "/lanes").Header.Get("Location"))
	s.get(t, "/lanes").shows(t, "identity.legacy is paused: every consumer")
	s.post(t, "/lanes/resume", "queue", "identity.email", "back", "/lanes")
	s.get(t, "/lanes").shows(t, "identity.email is resumed. &lt;img")
	require.Equal(t, []string{"an pauses identity.legacy why", "an resumes identity.email"}, asked.asked)

	asked.failure = errors.New("the database does not respond")
	s.post(t, "/lanes/resume", "queue", "identity.email", "back", "/lanes")
	s.get(t, "/lanes").shows(t, "Not done: the database does not respond", "Unknown: the database does not respond")

	readOnly := serve(t, Access{ReadOnly: true}, withSections(asked))
	require.NotContains(t, readOnly.get(t, "/lanes").body, "<button")
	require.Equal(t, http.StatusForbidden, readOnly.post(t, "/lanes/pause", "queue", "identity.email").StatusCode)
}

func TestPeople(t *testing.T) {
	t.Parallel()
	const address, id = "an@example.com", "019c12ac-89f0-7000-8b57-2f6d6a1c4c10"
	person := operations.Person{
		Email: address, Warnings: []string{hostile}, User: &operations.PersonUser{ID: id, State: "active", Role: "USER", CreatedAt: evening},
		Subscription: &operations.PersonSubscription{Plan: hostile, Status: "trialing", Entitled: true},
		Sessions:     []operations.PersonSession{{Device: hostile, UserAgent: hostile}},
		Requests:     []operations.PersonRequest{{Purpose: "verification", Network: "203.0.113.0/24", State: "good"}},
		Invitations:  []operations.PersonInvitation{{BatchID: "proj_1", State: "open"}},
		Mails:        []operations.PersonMail{{Kind: "verification", State: "sending", Class: "smtp_rcpt_451", EventID: "evt_1", Attempts: 3}},
	}
	asked := &sections{person: person}
	s := serve(t, Access{Token: token}, withSections(asked))
	s.login(t)
	r := s.post(t, "/people", "address", address)
	require.Equal(t, "/people/"+id, r.Header.Get("Location"), "the address is in no URL")
	r = s.get(t, "/people/"+id)
	r.shows(t, address, "smtp_rcpt_451", "203.0.113.0/24", "trialing", `href="/projects/proj_1"`, "evt_1", `id="do-disable"`, `id="do-promote"`)
	require.NotContains(t, r.body, `id="do-enable"`)
	require.NotContains(t, r.body, `id="do-demote"`)
	s.post(t, "/people/"+id+"/do", "verb", "disable", "reason", "fraud", "back", "/people/"+id)
	s.get(t, "/people/"+id).shows(t, "It is done.")
	require.Equal(t, []string{"looks up " + address, "shows " + id, "an disable " + id + " fraud", "shows " + id}, asked.asked)
	require.NotContains(t, s.log.String(), address)

	t.Run("offer what an account can have done", func(t *testing.T) {
		for state, want := range map[string]string{
			"active": "resend end-sessions demote disable delete", "invited": "resend end-sessions disable delete",
			"disabled": "end-sessions enable delete", "deleted": "",
		} {
			var verbs []string
			for _, a := range actionsOn(&operations.PersonUser{State: state, Role: "ADMIN"}) {
				verbs = append(verbs, string(a.Verb))
			}
			require.Equal(t, want, strings.Join(verbs, " "), state)
		}
	})
	t.Run("are shown without an account", func(t *testing.T) {
		asked.person.User = nil
		r := s.post(t, "/people", "address", address)
		require.Equal(t, http.StatusOK, r.StatusCode)
		r.shows(t, address, "smtp_rcpt_451")
		require.NotContains(t, r.body, "What can be done")
		asked.person.User = &operations.PersonUser{ID: id, State: "deleted", DeletedAt: evening}
		s.post(t, "/people", "address", address).shows(t, "deleted", id)
	})
	t.Run("are not there", func(t *testing.T) {
		asked.failure = operations.ErrNobody
		r := s.post(t, "/people", "address", "nobody@example.com")
		require.Equal(t, http.StatusNotFound, r.StatusCode)
		r.shows(t, "nothing is known of this address")
		require.Equal(t, http.StatusNotFound, s.get(t, "/people/"+id).StatusCode)
		require.Equal(t, http.StatusForbidden, s.ask(t, http.MethodPost, "/people", url.Values{"address": {address}}).StatusCode)
	})
}

func TestProjects(t *testing.T) {
	t.Parallel()
	const id = "proj_019c12ac-89f0-7000-8b57-2f6d6a1c4c10"
	done := operations.Progress{Found: true, Status: "PROCESSING" + hostile, Total: 4, Done: 1, Errors: 1, Percent: 25}
	batch := operations.Batch{ID: id, AdminID: "admin-1", Total: 4, CreatedAt: evening, LastDueAt: evening, Progress: &done}
	asked := &sections{
		batches: operations.Part[operations.Batch]{Rows: []operations.Batch{batch, {ID: "proj_2", CancelledAt: evening}}, More: "proj_2"},
		found: operations.Part[operations.Project]{
			Rows: []operations.Project{{ID: id, Progress: done, Touched: evening.Add(-time.Minute)}, {ID: hostile, CompletedAt: evening}}, More: "17.a b",
		},
		project: operations.Project{
			ID: id, Progress: done, Owner: "user-1", Fields: []operations.Field{{Name: hostile, Value: hostile}}, Life: time.Hour, Batch: &batch,
		},
	}
	s := serve(t, Access{}, withSections(asked))

	s.get(t, "/batches").shows(t, id, "25 %", "unknown", "cancelled", `href="/people/admin-1"`, `href="/batches?after=proj_2&amp;state="`)
	s.get(t, "/batches?state=open&after=proj_2").shows(t, `href="/batches?state=open">First page`)
	s.get(t, "/projects?state=completed&after=17.a").shows(t, `href="/projects?state=completed">First page`)
	s.get(t, "/projects").shows(t, id, "1 min 0 s ago", "no longer in Redis", `after=17.a`)
	s.get(t, "/projects?state=completed").shows(t, "Announced")
	require.Equal(t, "/projects/a%2Fb%20c", s.get(t, "/projects?id=+a/b+c+").Header.Get("Location"))
	s.get(t, "/projects/"+id).shows(t, "1 of 4 ended", "1 h 0 min yet", `href="/people/user-1"`, "open, of 4 invitations")
	s.get(t, "/projects/a%2Fb%20c")
	require.Equal(t, []string{
		"batches  ", "batches open proj_2", "projects completed 17.a", "projects open ", "projects completed ", "project " + id, "project a/b c",
	}, asked.asked)

	for _, path := range []string{"/batches?state=x", "/projects?state=x"} {
		require.Equal(t, http.StatusBadRequest, s.get(t, path).StatusCode)
	}
	asked.failure = operations.ErrPlace
	require.Equal(t, http.StatusBadRequest, s.get(t, "/projects?after=x").StatusCode)
	asked.failure = operations.ErrNoProject
	s.get(t, "/projects/x").shows(t, "nothing is known of this project")
	asked.failure = errors.New("redis does not respond")
	s.get(t, "/projects").shows(t, "Unknown: redis does not respond")
}

func TestAudit(t *testing.T) {
	t.Parallel()
	asked := &sections{entries: operations.Part[audit.Entry]{Rows: []audit.Entry{
		{At: evening, Action: audit.LanePaused, Outcome: audit.Done, Operator: hostile, SubjectID: "identity.email", Details: audit.Details{Reason: hostile}},
		{At: evening, Action: audit.LoginLocked, Outcome: audit.Refused, UserID: "user-1", ActorID: "user-2"},
	}, More: "5.id"}}
	s := serve(t, Access{}, withSections(asked))
	r := s.get(t, "/audit?action=lane.paused&operator=+an+&subject=identity.email&user=user-1&after=7.id")
	r.shows(t, "operator &lt;img", "refused", `href="/people/user-1"`, `href="/people/user-2"`, "<option selected>lane.paused</option>",
		`href="/audit?action=lane.paused&amp;after=5.id&amp;operator=an&amp;since=&amp;subject=identity.email&amp;until=&amp;user=user-1" rel="next">Next page`,
		`href="/audit?action=lane.paused&amp;operator=an&amp;since=&amp;subject=identity.email&amp;until=&amp;user=user-1">First page`)
	s.get(t, "/audit?operator=%22%3E%3Cimg%3E&after=7.id").shows(t, `operator=%22%3E%3Cimg%3E&amp;since=&amp;subject=&amp;until=&amp;user=">First page`)
	s.get(t, "/audit?after=+").shows(t, "data-live")
	asked.asked = asked.asked[:1]
	require.Equal(t, []string{"entries lane.paused an identity.email user-1 7.id"}, asked.asked)
	require.Equal(t, http.StatusBadRequest, s.get(t, "/audit?operator=%00").StatusCode)
	asked.failure = operations.ErrPlace
	require.Equal(t, http.StatusBadRequest, s.get(t, "/audit?after=x").StatusCode)
}

func TestAuditByTime(t *testing.T) {
	t.Parallel()
	asked := &sections{entries: operations.Part[audit.Entry]{More: "5.id"}}
	s := serve(t, Access{}, withSections(asked))
	morning := time.Date(2026, 11, 27, 9, 30, 0, 0, time.UTC)
	for typed, want := range map[string]time.Time{
		"": {}, "2026-11-27 09:30:00": morning, " 2026-11-27T16:30:00+07:00 ": morning, "2026-11-27": morning.Truncate(24 * time.Hour),
		"90m": evening.Add(-90 * time.Minute),
	} {
		require.Equal(t, http.StatusOK, s.get(t, "/audit?since="+url.QueryEscape(typed)).StatusCode, typed)
		require.Equal(t, audit.Filter{Since: want, Limit: pageRows}, asked.filter, typed)
		s.get(t, "/audit?until="+url.QueryEscape(typed))
		require.Equal(t, audit.Filter{Until: want, Limit: pageRows}, asked.filter, typed)
	}
	s.get(t, "/audit?since=2026-11-27&until=2h&after=7.id").shows(t, `name="since" value="2026-11-27"`, `name="until" value="2h"`,
		`href="/audit?action=&amp;operator=&amp;since=2026-11-27&amp;subject=&amp;until=2h&amp;user=">First page`,
		`href="/audit?action=&amp;after=5.id&amp;operator=&amp;since=2026-11-27&amp;subject=&amp;until=2h&amp;user=" rel="next">Next page`)

	asked.asked = nil
	for _, wrong := range []string{"yesterday", "-2h", "0001-01-01", "9999-12-31T23:00:00-07:00", "2026-02-30", "%00", url.QueryEscape(hostile)} {
		for _, field := range []string{"since", "until"} {
			r := s.get(t, "/audit?operator=binh&"+field+"="+wrong)
			require.Equal(t, http.StatusBadRequest, r.StatusCode, wrong)
			r.shows(t, field+": &#34;", "is no time: write one in UTC as 2026-01-31 09:30:00", `name="operator" value="binh"`)
			require.NotContains(t, r.body, "<table")
		}
	}
	s.get(t, "/audit?until="+url.QueryEscape(hostile)).shows(t, `name="until" value="&lt;img`)
	require.Empty(t, asked.asked, "nothing is read")
}

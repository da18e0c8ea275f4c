package http

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/operations"
)

const deadQueue = "identity.email"

// letters are dead letters in memory. Handling waits for a place in turns, where that is set.
type letters struct {
	turns chan struct{}

	mu       sync.Mutex
	all      []event.DeadLetter
	err      error
	recorded []string
}

func (l *letters) Depths(context.Context) (map[string]int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return map[string]int{deadQueue: len(l.all)}, l.err
}

func (l *letters) now() ([]event.DeadLetter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all), l.err
}

func (l *letters) List(_ context.Context, _ string, each func(event.DeadLetter) error) error {
	all, err := l.now()
	for _, one := range all {
		if err := each(one); err != nil {
			return err
		}
	}
	return err
}

func (l *letters) Show(_ context.Context, _ string, s operations.Selection, each func(operations.Detail) error) error {
	all, err := l.now()
	for _, one := range all {
		if !s.Matches(one, evening) {
			continue
		}
		if err := each(operations.Detail{DeadLetter: one, BodyDigest: "feed", Headers: map[string]string{"x-<b>": "<i>"}}); err != nil {
			return err
		}
	}
	return err
}

func (l *letters) Handle(ctx context.Context, w operations.Work, r operations.Reports) error {
	all, err := l.now()
	for _, one := range all {
		r.Seen()
		if !w.Matches(one, evening) {
			continue
		}
		if l.turns != nil {
			select {
			case <-l.turns:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		l.mu.Lock()
		l.all = slices.DeleteFunc(l.all, func(other event.DeadLetter) bool { return other == one })
		l.mu.Unlock()
		if err := r.Handled(operations.Outcome{DeadLetter: one, Action: string(w.Action) + "ed"}); err != nil {
			return err
		}
	}
	return err
}

func (l *letters) Record(_ context.Context, operator string, action audit.Action, subject, reason string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recorded = append(l.recorded, fmt.Sprint(operator, " ", action, " ", subject, " ", reason))
	return nil
}

func (l *letters) records() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.recorded)
}

type fixedClock struct{}

func (fixedClock) Now() time.Time { return evening }

func newDesk(l *letters) *operations.Desk {
	return operations.NewDesk(operations.DeskDeps{
		Queues: []string{deadQueue, "identity.project"}, Letters: l, Records: l, Clock: fixedClock{}, Unrecorded: func(operations.Job, error) {},
	})
}

// serveLetters serves a console on n dead letters.
func serveLetters(t *testing.T, access Access, n int) (*site, *letters) {
	t.Helper()
	l := &letters{}
	for i := range n {
		l.all = append(l.all, event.DeadLetter{
			Queue: deadQueue, EventID: fmt.Sprintf("evt_%03d<i>", i), RoutingKey: "email.<b>", Reason: []string{"rejected", "exhausted"}[i%2],
			ErrorClass: "smtp_rcpt_550", Attempts: 3, DeadSince: evening.Add(-time.Duration(n-i) * time.Minute).Format(time.RFC3339), BodyBytes: 123456,
		})
	}
	return serve(t, access, func(o *Options) { o.Desk = newDesk(l) }), l
}

// change makes a change and returns the page that it leads to.
func (s *site) change(t *testing.T, path string, form url.Values) (location string, page answer) {
	t.Helper()
	form.Set("form", s.formKey())
	r := s.ask(t, http.MethodPost, path, form)
	require.Equal(t, http.StatusSeeOther, r.StatusCode, r.body)
	location = r.Header.Get("Location")
	return location, s.get(t, location)
}

// until reads a page until it says want.
func (s *site) until(t *testing.T, path, want string) answer {
	t.Helper()
	var page answer
	require.Eventually(t, func() bool {
		page = s.get(t, path)
		return strings.Contains(page.body, want)
	}, 10*time.Second, 10*time.Millisecond, want)
	return page
}

func TestDeadLetterPages(t *testing.T) {
	t.Parallel()
	t.Run("say how many there are, and that something is unknown", func(t *testing.T) {
		t.Parallel()
		s, l := serveLetters(t, Access{}, 1234)
		page := s.get(t, "/deadletters")
		require.Contains(t, page.body, `<td class="number">1,234</td>`)
		require.Contains(t, page.body, `<td class="number">unknown</td>`, "of the other queue")
		l.err = errors.New("no <broker>")
		page = s.get(t, "/deadletters")
		require.NotContains(t, page.body, "1,234")
		require.Contains(t, page.body, "no &lt;broker&gt;")
	})
	t.Run("list and filter, a part at a time", func(t *testing.T) {
		t.Parallel()
		s, _ := serveLetters(t, Access{}, 230)
		path := "/deadletters/" + deadQueue + "?reason=exhausted&older=5m"
		page := s.get(t, path)
		require.Equal(t, http.StatusOK, page.StatusCode)
		require.Contains(t, page.body, "<strong>112</strong> match, of 230")
		require.Contains(t, page.body, "1 to 50 of 112")
		require.Contains(t, page.body, `<option value="exhausted">115</option>`)
		require.Contains(t, page.body, "evt_001&lt;i&gt;")
		require.NotContains(t, page.body, "evt_000")
		require.NotContains(t, page.body, "<i>")
		next := regexp.MustCompile(`href="([^"]*after=[^"]*)">Next`)
		for _, want := range []string{"51 to 100 of 112", "101 to 112 of 112"} {
			page = s.get(t, strings.ReplaceAll(next.FindStringSubmatch(page.body)[1], "&amp;", "&"))
			require.Contains(t, page.body, want)
		}
		require.NotRegexp(t, next, page.body)
		first := regexp.MustCompile(`href="([^"]*)">To the beginning`).FindStringSubmatch(page.body)[1]
		require.Contains(t, s.get(t, strings.ReplaceAll(first, "&amp;", "&")).body, "1 to 50 of 112", "the filter is kept")
		for _, wrong := range []string{"older=yesterday", "newer=-1h", "older=0s"} {
			page = s.get(t, "/deadletters/"+deadQueue+"?"+wrong)
			require.Equal(t, http.StatusOK, page.StatusCode)
			require.Contains(t, page.body, "is no age", wrong)
		}
		require.Equal(t, http.StatusNotFound, s.get(t, "/deadletters/analytics").StatusCode)
		r := s.get(t, "/deadletters/"+deadQueue+"/read?reason=a%26b")
		require.Equal(t, "/deadletters/"+deadQueue+"?reason=a%26b", r.Header.Get("Location"))
	})
	t.Run("show one, and nothing of its body", func(t *testing.T) {
		t.Parallel()
		s, _ := serveLetters(t, Access{}, 3)
		list := s.get(t, "/deadletters/"+deadQueue)
		path := regexp.MustCompile(`href="(/deadletters/identity.email/letter/[0-9a-f]{16})">evt_001`).FindStringSubmatch(list.body)[1]
		page := s.until(t, path, "SHA-256")
		for _, want := range []string{"evt_001&lt;i&gt;", "exhausted", "smtp_rcpt_550", "123,456 bytes", "feed", "Header x-&lt;b&gt;", "&lt;i&gt;"} {
			require.Contains(t, page.body, want)
		}
		page = s.get(t, "/deadletters/"+deadQueue+"/letter/0000000000000000")
		require.Equal(t, http.StatusOK, page.StatusCode)
		require.Contains(t, page.body, "no such dead letter any more")
	})
	t.Run("handle those chosen", func(t *testing.T) {
		t.Parallel()
		s, l := serveLetters(t, Access{Token: token}, 5)
		s.login(t)
		location, page := s.change(t, "/deadletters/"+deadQueue+"/named", url.Values{
			"by": {"An <b>"}, "action": {"replay"}, "id": {"evt_001<i>", "evt_003<i>"}, "rate": {"100"},
		})
		require.Equal(t, "/deadletters/jobs/1", location)
		require.Contains(t, page.body, "Begun.")
		page = s.until(t, location, "Done.")
		require.Contains(t, page.body, "2 chosen letters")
		require.Contains(t, page.body, "An &lt;b&gt;")
		require.Len(t, l.records(), 2)
		require.Contains(t, s.get(t, "/deadletters/"+deadQueue).body, "<strong>3</strong> dead letters")
		_, page = s.change(t, "/deadletters/"+deadQueue+"/named", url.Values{
			"by": {"An"}, "action": {"discard"}, "id": {"evt_000<i>"}, "back": {"/deadletters/" + deadQueue},
		})
		require.Contains(t, page.body, "Not done: say why")
		for _, rate := range []string{"0", "fast", "1001", "-1"} {
			_, page = s.change(t, "/deadletters/"+deadQueue+"/named", url.Values{
				"by": {"An"}, "action": {"replay"}, "id": {"evt_000<i>"}, "rate": {rate}, "back": {"/deadletters/" + deadQueue},
			})
			require.Contains(t, page.body, "Not done: the rate is", rate)
		}
		require.Len(t, l.records(), 2)
	})
	t.Run("keep what was typed and chosen for a change that is refused", func(t *testing.T) {
		t.Parallel()
		s, l := serveLetters(t, Access{Token: token}, 60)
		s.login(t)
		list := "/deadletters/" + deadQueue + "?reason=exhausted"
		form := url.Values{
			"by": {" "}, "why": {hostile}, "rate": {"7"}, "action": {"discard"}, "id": {"evt_003<i>", "evt_007<i>", hostile}, "back": {list},
		}
		chosen := regexp.MustCompile(`aria-label="Choose (evt_\d+)&lt;i&gt;" checked>`)
		for _, refused := range []url.Values{{"by": {" "}}, {"by": {hostile}, "rate": {"fast" + hostile}}} {
			maps.Copy(form, refused)
			location, page := s.change(t, "/deadletters/"+deadQueue+"/named", form)
			require.Equal(t, list, location)
			page.shows(t, `name="why" value="&lt;img src=x onerror=&#34;alert(1)&#34;&gt;"`)
			all := chosen.FindAllStringSubmatch(page.body, -1)
			require.Len(t, all, 2)
			require.Equal(t, []string{"evt_003", "evt_007"}, []string{all[0][1], all[1][1]})
			require.NotRegexp(t, chosen, s.get(t, list).body, "it is there once")
		}
		form["by"] = []string{strings.Repeat("x", 101)}
		_, page := s.change(t, "/deadletters/"+deadQueue+"/named", form)
		page.shows(t, `name="by" value="`+form["by"][0]+`"`, `name="rate" type="number" min="1" max="1000" value="fast&lt;img`)
		form["why"] = []string{strings.Repeat("ắ", 5000)}
		_, page = s.change(t, "/deadletters/"+deadQueue+"/named", form)
		require.Len(t, chosen.FindAllString(page.body, -1), 2, "what a cookie has no room for is left out")
		require.NotContains(t, page.body, "ắ")
		for i := range 2 * lettersShown {
			form.Add("id", fmt.Sprint(i))
		}
		for _, c := range s.ask(t, http.MethodPost, "/deadletters/"+deadQueue+"/named", form).Cookies() {
			require.Less(t, len(c.Name+c.Value), 4000)
		}
		require.Empty(t, l.records())
	})
	t.Run("handle all that match, counted first, and stop", func(t *testing.T) {
		t.Parallel()
		s, l := serveLetters(t, Access{}, 300)
		l.turns = make(chan struct{})
		location, _ := s.change(t, "/deadletters/"+deadQueue+"/count", url.Values{
			"by": {"An"}, "action": {"discard"}, "reason": {"exhausted"},
		})
		page := s.until(t, location, "150 match, counted at 20:00:00 UTC")
		require.Contains(t, page.body, "Discard 150")
		require.Contains(t, page.body, "all that match reason exhausted</dd>")
		require.Empty(t, l.records())
		_, page = s.change(t, location+"/begin", url.Values{"by": {" "}, "why": {"a <test>'s"}, "rate": {"9"}, "back": {location}})
		require.Contains(t, page.body, `name="why" value="a &lt;test&gt;&#39;s" data-kept`)
		require.Contains(t, page.body, `value="9" data-kept`)
		s.change(t, location+"/begin", url.Values{"by": {"An"}, "why": {"a test's"}, "rate": {"1000"}, "back": {location}})
		for range 40 {
			l.turns <- struct{}{}
		}
		page = s.until(t, location, "<dt>Remaining</dt><dd>110</dd>")
		require.Contains(t, page.body, "Running.")
		require.Contains(t, page.body, `max="100" value="26"`)
		require.Contains(t, s.get(t, "/deadletters/"+deadQueue).body, "works on this queue (discard, running)")
		require.Contains(t, s.get(t, "/deadletters").body, "40 of 150")
		s.change(t, location+"/stop", url.Values{"by": {"Binh"}, "back": {location}})
		page = s.until(t, location, "Stopped.")
		require.Contains(t, page.body, "stopped by Binh")
		require.Contains(t, l.records()[0], "An deadletters.discarded identity.email a test")
		require.Len(t, l.all, 260)
		require.Equal(t, http.StatusNotFound, s.get(t, "/deadletters/jobs/77").StatusCode)
	})
	t.Run("only show where the console only shows", func(t *testing.T) {
		t.Parallel()
		s, l := serveLetters(t, Access{ReadOnly: true}, 3)
		list := s.get(t, "/deadletters/"+deadQueue)
		require.NotContains(t, list.body, `method="post"`)
		for _, path := range []string{"/identity.email/named", "/identity.email/count", "/jobs/1/begin", "/jobs/1/stop"} {
			r := s.ask(t, http.MethodPost, "/deadletters"+path, url.Values{"form": {s.formKey()}, "by": {"an"}, "id": {"evt_000<i>"}})
			require.Equal(t, http.StatusForbidden, r.StatusCode, path)
		}
		require.Len(t, l.all, 3)
	})
}

//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

// deadPages is the operations console of a consumer in a browser.
type deadPages struct {
	*testing.T
	s    *harness.TestSystem
	url  string
	page *harness.Page
}

// newDeadPages starts a system whose consumer serves its console, and opens the overview of the dead letters.
func newDeadPages(t *testing.T, browser *harness.Browser, apis int) *deadPages {
	t.Helper()
	s := harness.New(t, harness.Options{APIs: apis, Consumers: 1, Env: map[string]string{"CONSOLE_ADDR": "127.0.0.1:0"}})
	c := &deadPages{T: t, s: s, url: consoleOf(s)}
	if browser != nil {
		c.page = browser.Open(c.url)
		c.open("/deadletters")
	}
	return c
}

// consoleOf returns where the newest run of the first consumer serves its console.
func consoleOf(s *harness.TestSystem) string {
	s.WaitLine(s.Consumers[0], "operations console is served")
	var address string
	for _, line := range s.Consumers[0].Log.Lines(0) {
		if strings.Contains(line, "operations console is served") {
			var entry struct{ Address string }
			if json.Unmarshal([]byte(line), &entry) == nil {
				address = entry.Address
			}
		}
	}
	return "http://" + address
}

func (c *deadPages) open(path string) {
	c.Helper()
	require.NoError(c, c.page.Do(chromedp.Navigate(c.url+path)))
}

// see waits until a person reads want on the page.
func (c *deadPages) see(want string) (text string) {
	c.Helper()
	harness.Soon(c, func() error {
		err := c.page.Call(&text, `() => document.querySelector("main").innerText`)
		if err == nil && !strings.Contains(text, want) {
			err = fmt.Errorf("the page does not say %q, but %q", want, text)
		}
		return err
	})
	return text
}

// fill types text into a field of a form in place of what is there.
func (c *deadPages) fill(form, field, text string) {
	c.Helper()
	selector := form + " [name=" + field + "]"
	var chosen bool
	require.NoError(c, c.page.Call(&chosen, `s => (document.querySelector(s).select(), true)`, selector))
	require.NoError(c, c.page.Do(chromedp.SendKeys(chromedp.CSS(selector), text)))
}

// click clicks there, and says yes where it is asked.
func (c *deadPages) click(selector string) {
	c.Helper()
	var asked bool
	require.NoError(c, c.page.Call(&asked, `() => (window.confirm = () => true)()`))
	require.NoError(c, c.page.Click(selector))
}

// choose clicks the boxes of the first n letters.
func (c *deadPages) choose(n int) {
	c.Helper()
	var chosen int
	require.NoError(c, c.page.Call(&chosen, `n => [...document.querySelectorAll("input[name=id]")].slice(0, n).map(box => box.click()).length`, n))
	require.Equal(c, n, chosen)
}

// looksRight is the function of this name, and leaves the page as wide as it was.
func (c *deadPages) looksRight(name string) {
	c.Helper()
	looksRight(c, c.page, "operations-"+name)
	require.NoError(c, c.page.Look(1280, 1000, "light"))
}

// audited returns how many entries an operator has of an action.
func (c *deadPages) audited(operator, action string) int {
	c.Helper()
	return c.s.Count("SELECT count(*) FROM audit_entries WHERE operator = $1 AND action = $2", operator, action)
}

// openProjects leaves n projects in Redis as other services have counted them so far.
func openProjects(c *deadPages, n int) {
	pipe := c.s.Redis.Pipeline()
	for i := range n {
		id := fmt.Sprintf("p%05d", i)
		pipe.ZAdd(c.Context(), "identity:open-projects", redis.Z{Score: float64(time.Now().UnixMilli() - int64(i)), Member: id})
		pipe.HSet(c.Context(), "smap:proj:"+id, "status", "PROCESSING", "total", 4, "done", 1)
		if (i+1)%250 == 0 {
			_, err := pipe.Exec(c.Context())
			require.NoError(c, err)
		}
	}
}

// bury publishes n letters to a dead queue, as a consumer leaves them there.
func bury(s *harness.TestSystem, queue string, n int) {
	died := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339Nano)
	for start := 0; start < n; start += 5000 {
		var some []amqp.Publishing
		for i := start; i < min(n, start+5000); i++ {
			reason := []string{"rejected", "exhausted", "invalid"}[i%3]
			some = append(some, amqp.Publishing{
				MessageId: "evt_" + uuid.NewString(), DeliveryMode: amqp.Persistent, ContentType: "application/json",
				Body: []byte(`{"secret":"` + strings.Repeat("x", 600) + `"}`),
				Headers: amqp.Table{
					"x-routing-key": "email.verification.requested", "x-dead-reason": reason, "x-dead-at": died,
					"x-last-error-class": "smtp_rcpt_550", "x-attempts": "1", "x-first-failed-at": died,
				},
			})
		}
		s.Publish("", queue+".dead", some...)
	}
}

func TestOperationsDeadLetters(t *testing.T) {
	t.Parallel()
	browser := harness.NewBrowser(t)
	t.Run("they are found, shown, replayed and discarded", func(t *testing.T) { deadLettersRepaired(newDeadPages(t, browser, 1)) })
	t.Run("all that match, with progress, stopped and killed", func(t *testing.T) { deadLettersMatching(newDeadPages(t, browser, 0), browser) })
	t.Run("a hundred thousand of them, and ten thousand projects", func(t *testing.T) { manyRows(newDeadPages(t, nil, 0)) })
}

func deadLettersRepaired(c *deadPages) {
	const body = `{"otp":"445566","to":"someone@secret.example"}`
	c.s.Mailbox.Script(smtptest.At(smtptest.Rcpt).Reply(550))
	people := []*person{register(c.T, c.s), register(c.T, c.s), register(c.T, c.s)}
	harness.Soon(c, func() error { return lengthIs(c.s, emailQueue+".dead", 3) })
	c.s.Mailbox.Script()
	var hostile []amqp.Publishing
	for i := range 6 {
		hostile = append(hostile, amqp.Publishing{
			MessageId: fmt.Sprint(i, markup), ContentType: markup, DeliveryMode: amqp.Persistent, Body: []byte(body),
			Headers: amqp.Table{
				"x-routing-key": markup, "x-dead-reason": "</td>" + markup, "x-last-error-class": markup, "x-dead-at": markup,
				"x-first-failed-at": markup, "traceparent": markup, "x-" + markup: markup,
			},
		})
	}
	c.s.Publish("", emailQueue+".dead", hostile...)

	c.open("/deadletters")
	c.see("identity.email\t9")
	c.looksRight("deadletters")
	c.click(`a[href="/deadletters/identity.email"]`)
	require.Contains(c, c.see("1 to 9 of 9"), `<script>top.`)
	c.looksRight("deadletters-list")
	c.fill(".filters", "reason", "rejected")
	c.click(".filters button")
	c.see("1 to 3 of 3")

	c.click("tbody th a")
	text := c.see("SHA-256")
	for _, want := range []string{"rejected", "smtp_rcpt_550", "email.verification.requested", "bytes, never shown", "Header x-attempts"} {
		require.Contains(c, text, want)
	}
	c.looksRight("deadletters-one")
	first := regexp.MustCompile(`evt_[0-9a-f-]{36}`).FindString(text)
	c.fill("form.card", "by", "An "+markup[:20])
	c.click("button[value=replay]")
	c.see("Done.")
	who := slices.IndexFunc(people, func(p *person) bool { return mailEvent(c.T, c.s, p) == first })
	people[who].readMail(c.T, c.s)
	people[who].verify(c.T)

	c.open("/deadletters/identity.email?reason=rejected")
	c.see("1 to 2 of 2")
	c.choose(2)
	c.click("form[action$=named] button[value=replay]") // the browser knows the name
	c.see("Done.")
	c.looksRight("deadletters-job")
	for _, p := range slices.Delete(people, who, who+1) {
		p.readMail(c.T, c.s)
	}
	require.Equal(c, 4, c.audited("An "+markup[:20], "deadletters.replayed"), "two jobs: begin and end")

	c.open("/deadletters/identity.email?reason=" + url.QueryEscape("</td>"+markup))
	c.see("1 to 6 of 6")
	c.click("tbody th a")
	c.see("SHA-256")
	require.NotContains(c, c.see("Header x-"), "445566")
	c.open("/deadletters/identity.email?reason=" + url.QueryEscape("</td>"+markup))
	c.click("form[action$=count] button[value=discard]")
	c.see("6 match, counted at")
	c.looksRight("deadletters-counted")
	c.fill("form[action$=begin]", "why", "a stranger's "+markup)
	c.click("form[action$=begin] button")
	c.see("Done.")
	require.Zero(c, c.s.QueueLength(emailQueue+".dead"))
	require.Equal(c, 2, c.audited("An "+markup[:20], "deadletters.discarded"))
	require.Equal(c, 1, c.s.Count("SELECT count(*) FROM audit_entries WHERE reason LIKE $1", "a stranger's "+markup+" [console job % begins: %"))

	var ran string
	require.NoError(c, c.page.Call(&ran, `() => (window.ran ?? "") + document.title`))
	require.NotContains(c, ran, "ran")
	for _, m := range c.page.Messages() {
		require.NotContains(c, m.Text, "Uncaught")
		require.NotContains(c, m.Text, "Content Security Policy")
	}
	for _, line := range c.s.Consumers[0].Log.Lines(0) {
		require.NotContains(c, line, "secret.example")
		require.NotContains(c, line, "445566")
	}
}

// discardedIn returns how many letters a consumer has logged as discarded.
func discardedIn(s *harness.TestSystem) (n int) {
	for _, line := range s.Consumers[0].Log.Lines(0) {
		if strings.Contains(line, "dead letter discarded") {
			n++
		}
	}
	return n
}

func deadLettersMatching(c *deadPages, browser *harness.Browser) {
	const queue, all = "identity.project", 1200
	bury(c.s, queue, all)
	begin := func() (job string) {
		c.open("/deadletters/" + queue + "?reason=exhausted")
		c.see("match, of ")
		c.fill("form[action$=count]", "by", "An")
		c.click("form[action$=count] button[value=discard]")
		c.see("match, counted at")
		c.fill("form[action$=begin]", "why", "a test's")
		c.fill("form[action$=begin]", "rate", "5")
		c.click("form[action$=begin] button")
		c.see("Running.")
		require.NoError(c, c.page.Call(&job, `() => location.pathname`))
		return job
	}
	job := begin()
	require.Contains(c, c.see("at most 5 a second"), "400 at ")
	c.looksRight("deadletters-running")
	out := c.s.Command(nil, harness.Consumer, "dlq", "list", queue)
	require.Equal(c, 1, out.Code, "one look at a time, whichever process")
	require.Contains(c, out.Stderr, "another process")

	elsewhere := &deadPages{c.T, c.s, c.url, browser.Open(c.url)} // another browser sees the same job
	elsewhere.open(job)
	harness.Soon(c, func() error {
		if n := discardedIn(c.s); n < 10 {
			return fmt.Errorf("%d are discarded", n)
		}
		return nil
	})
	elsewhere.fill("form[action$=stop]", "by", "Binh")
	elsewhere.click("form[action$=stop] button")
	elsewhere.see("stopped by Binh")
	c.see("Stopped.") // by itself, from the stream
	gone := discardedIn(c.s)
	require.Equal(c, all-gone, c.s.QueueLength(queue+".dead"), "nothing is lost")
	require.Equal(c, 1, c.s.Count("SELECT count(*) FROM audit_entries WHERE operator = 'An' AND subject_id = $1 AND reason = $2", queue,
		fmt.Sprintf("[console job 1 stopped: %d of 400 handled, %d discarded, 0 failed; stopped by Binh]", gone, gone)))

	begin()
	harness.Soon(c, func() error {
		if n := discardedIn(c.s); n < gone+10 {
			return errors.New("it has not got far")
		}
		return nil
	})
	require.NoError(c, c.s.Consumers[0].Kill())
	harness.Soon(c, func() error {
		if left := c.s.QueueLength(queue + ".dead"); left < all-discardedIn(c.s)-1 {
			return fmt.Errorf("%d are there yet", left)
		}
		return nil
	})
	require.InDelta(c, all-discardedIn(c.s), c.s.QueueLength(queue+".dead"), 1, "the one it was at may be on its way")
	require.NoError(c, c.s.Consumers[0].Start(c.Context()))
	c.s.Ready(c.s.Consumers[0])
	c.url = consoleOf(c.s)
	c.open("/deadletters")
	c.see("None.") // jobs are of their process
	c.open(job)
	c.see("There is no such page")
	require.Equal(c, 3, c.audited("An", "deadletters.discarded"), "the second has begun, and no end")
}

// manyRows has pages of 10^5 letters and of 10^4 projects, and says what they cost.
func manyRows(c *deadPages) {
	const all, list = 100_000, "/deadletters/" + emailQueue
	bury(c.s, emailQueue, all)
	openProjects(c, 10_000)
	costs := map[string][]time.Duration{}
	get := func(what, path string) string {
		began := time.Now()
		request, err := http.NewRequestWithContext(c.Context(), http.MethodGet, c.url+path, http.NoBody)
		require.NoError(c, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(c, err)
		defer response.Body.Close()
		raw, err := io.ReadAll(response.Body)
		require.NoError(c, err)
		require.Equal(c, http.StatusOK, response.StatusCode)
		costs[what] = append(costs[what], time.Since(began))
		return string(raw)
	}
	now, _, err := c.s.Consumers[0].Memory()
	require.NoError(c, err)
	c.Logf("resident before: %d MB", now>>20)
	read := time.Now()
	harness.Soon(c, func() error { // a first look that takes long shows the page without the letters
		if !strings.Contains(get("first page", list), "1 to 50 of") {
			return errors.New("there is no first page yet")
		}
		return nil
	})
	harness.Soon(c, func() error {
		if !strings.Contains(get("page while the queue is read", list), "<strong>100,000</strong> dead letters") {
			return errors.New("it is being read")
		}
		return nil
	})
	c.Logf("all are listed after %s", time.Since(read))
	var next []string
	for range 20 {
		next = regexp.MustCompile(`href="([^"]*after=[^"]*)">Next`).FindStringSubmatch(get("page", list))
	}
	require.Contains(c, get("page", strings.ReplaceAll(next[1], "&amp;", "&")), "51 to 100 of 100,000")
	require.Contains(c, get("filter", list+"?reason=exhausted&older=1s"), "<strong>33,333</strong> match, of 100,000")
	require.Contains(c, get("filter", list+"?key=none"), "<strong>0</strong> match, of 100,000")
	one := regexp.MustCompile(`href="(/deadletters/identity.email/letter/[0-9a-f]{16})"`).FindStringSubmatch(get("page", list))
	require.Contains(c, get("letter", one[1]), "smtp_rcpt_550")
	read = time.Now()
	harness.Soon(c, func() error {
		if !strings.Contains(get("letter", one[1]), "SHA-256") {
			return errors.New("the details are being read")
		}
		return nil
	})
	c.Logf("its details are there after %s", time.Since(read))
	for range 20 {
		next = regexp.MustCompile(`href="(/projects\?[^"]*after=[^"]*)"`).FindStringSubmatch(get("projects", "/projects"))
	}
	get("projects", strings.ReplaceAll(next[1], "&amp;", "&"))
	get("projects of a status that none has", "/projects?state=FAILED")
	for what, took := range costs {
		slices.Sort(took)
		c.Logf("%s: %d times, median %s, at most %s", what, len(took), took[len(took)/2], took[len(took)-1])
	}
	now, peak, err := c.s.Consumers[0].Memory()
	require.NoError(c, err)
	c.Logf("resident: %d MB, at most %d MB", now>>20, peak>>20)
	require.Less(c, peak, int64(128<<20), "of the whole process; the aim is 100 MB, without what the collector has not got to yet")
	require.Equal(c, all, c.s.QueueLength(emailQueue+".dead"))
}

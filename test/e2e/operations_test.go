//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// operationsToken is what operators of these tests type.
const operationsToken = "d2hhdCBhbiBvcGVyYXRvciB0eXBlcw=="

// withConsole has every consumer of a system serve the operations console.
func withConsole() map[string]string {
	return map[string]string{"CONSOLE_ADDR": "127.0.0.1:0", "CONSOLE_TOKEN": operationsToken}
}

// openOperations opens the console of a consumer in a tab of its own.
func openOperations(t *testing.T, s *harness.TestSystem, browser *harness.Browser, p *harness.Process) *console {
	t.Helper()
	var line struct{ Address string }
	require.NoError(t, json.Unmarshal([]byte(s.WaitLine(p, "the operations console is served")), &line))
	return &console{T: t, page: browser.Open("http://" + line.Address)}
}

// operate logs in to the console of a consumer, with the keyboard alone.
func operate(t *testing.T, s *harness.TestSystem, browser *harness.Browser, p *harness.Process) *console {
	t.Helper()
	c := openOperations(t, s, browser, p)
	c.logIn(operationsToken)
	c.see("h1", "Status")
	return c
}

// logIn types a token into the field of the first page, which has the focus as soon as it is drawn.
func (c *console) logIn(token string) {
	c.Helper()
	c.see("h1", "Log in")
	harness.Soon(c, func() error {
		var focused bool
		err := c.page.Call(&focused, `() => document.activeElement.matches("[name=token]")`)
		if err == nil && !focused {
			err = errors.New("the field has no focus")
		}
		return err
	})
	c.press(token + "\r")
}

func (c *console) press(keys string) {
	c.Helper()
	require.NoError(c, c.page.Do(chromedp.KeyEvent(keys)))
}

// follow goes where a link of the navigation leads.
func (c *console) follow(label string) {
	c.Helper()
	c.run(`label => [...document.querySelectorAll("nav a")].find(a => a.textContent === label).click()`, label)
	c.see("h1", label)
}

// run calls a function in the page.
func (c *console) run(function string, args ...any) {
	c.Helper()
	var done bool
	require.NoError(c, c.page.Call(&done, `(...args) => ((`+function+`)(...args), true)`, args...))
}

// sections are the pages of the navigation.
func (c *console) sections() (labels []string) {
	c.Helper()
	require.NoError(c, c.page.Call(&labels, `() => [...document.querySelectorAll("nav a")].map(a => a.textContent)`))
	return labels
}

// clean requires that nothing has run that is not the console's own, and that nothing was asked for elsewhere.
func (c *console) clean() {
	c.Helper()
	var ran string
	require.NoError(c, c.page.Call(&ran, `() => String(window.ran ?? "") + document.title`))
	require.NotContains(c, ran, "ran")
	require.NotContains(c, ran, "1")
	var added, elsewhere []string
	require.NoError(c, c.page.Call(&added,
		`() => [...document.querySelectorAll("main script, main img, main iframe, main [onload], main [onerror], a[href^=javascript]")].map(e => e.outerHTML)`))
	require.Empty(c, added)
	require.NoError(c, c.page.Call(&elsewhere,
		`() => performance.getEntriesByType("resource").map(r => r.name).filter(name => !name.startsWith(location.origin + "/"))`))
	require.Empty(c, elsewhere)
	require.False(c, slices.ContainsFunc(c.page.Messages(), func(m chromedp.ConsoleMessage) bool {
		return strings.Contains(m.Text, "Uncaught") || strings.Contains(m.Text, "Content Security Policy")
	}), fmt.Sprint(c.page.Messages()))
}

func TestOperations(t *testing.T) {
	t.Parallel()
	browser := harness.NewBrowser(t)
	t.Run("an operator finds and repairs what is wrong", func(t *testing.T) { incidents(t, browser) })
	t.Run("every page is for everybody, with any screen", func(t *testing.T) { everyPage(t, browser) })
	t.Run("nothing that it shows runs", func(t *testing.T) { hostileService(t, browser) })
}

// incidents are those of a night: the mail server is down, Redis takes no writes, a message is poison, a consumer dies.
func incidents(t *testing.T, browser *harness.Browser) {
	redis, port := harness.NewRedis(t)
	env := withConsole()
	env["REDIS_HOST"], env["REDIS_PORT"], env["REDIS_PASSWORD"] = "127.0.0.1", port, ""
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 2, Env: env})
	c := operate(t, s, browser, s.Consumers[0])
	require.NoError(t, c.page.Look(1600, 1000, "light"))
	c.see("#problems", "Well. Nothing is wrong.")
	c.see("#following", "live")
	c.see("#tiles", "2 alive")
	dying := s.Consumers[1]
	require.NoError(t, dying.Kill()) // which shows once it has been silent for a while

	s.Mailbox.Down()
	waiting := register(t, s)
	c.see("#problems", "is paused since")
	c.see("#banner", "sends nothing")
	c.see("#tiles", "1, the oldest for")
	require.NoError(t, c.page.Picture("operations-smtp-down", true))
	require.NoError(t, s.Mailbox.Up())
	oneMail(t, s, waiting.email)
	c.see("#problems", "Nothing is wrong.")
	require.Empty(t, strings.TrimSpace(c.text("#banner")))

	require.NoError(t, redis.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
	c.see("#problems", "Redis is unhealthy")
	c.see("#problems", "docs/runbook.md#redis-refuses-writes")
	require.NoError(t, c.page.Picture("operations-redis-read-only", true))
	require.NoError(t, redis.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())

	c.see("#problems", "A process of the role consumer has been silent")
	require.NoError(t, c.page.Picture("operations-consumer-dead", true))
	c.follow("Processes")
	c.see("#processes", "silent")
	require.NoError(t, dying.Start(t.Context()))
	c.follow("Status")
	c.see("#problems", "Nothing is wrong.")

	s.Publish(harness.Exchange, "project.created", amqp.Publishing{MessageId: "evt_poison", Body: []byte(`{"event_id":"evt_poison","payload":7}`)})
	c.see("#problems", "identity.project has 1 dead letter")
	require.NoError(t, c.page.Picture("operations-poison", true))
	poisonAtTheKeyboard(c, s)
	c.clean()
}

// poisonAtTheKeyboard replays a dead letter, which dies again, and discards it, as a person without a mouse does.
func poisonAtTheKeyboard(c *console, s *harness.TestSystem) {
	const dead = "/deadletters/identity.project"
	reach := func() {
		c.enter(`nav a[href="/deadletters"]`)
		c.see("h1", "Dead letters")
		c.tab(`main a[href="` + dead + `"]`)
		c.staysThere()
		c.press("\r")
		c.see("#rows", "evt_poison")
		c.enter(`#rows a[href^="` + dead + `/letter/"]`)
		c.see("#details", "SHA-256")
	}
	reach()
	c.tab(`input[name=by]`)
	c.press("Thảo")
	c.enter(`button[value=replay]`)
	c.see("main", "Done.")
	harness.Soon(c, func() error { return lengthIs(s, "identity.project.dead", 1) }) // what is wrong with it is still wrong
	reach()
	c.run(`() => { window.confirm = () => true }`)
	c.tab(`input[name=why]`)
	c.press("made by hand")
	c.enter(`button[value=discard]`)
	c.see("main", "Done.")
	require.Zero(c, s.QueueLength("identity.project.dead"))
	require.Positive(c, s.Count(`SELECT count(*) FROM audit_entries WHERE operator = 'Thảo' AND action = 'deadletters.replayed'`))
	require.Positive(c, s.Count(`SELECT count(*) FROM audit_entries WHERE operator = 'Thảo' AND action = 'deadletters.discarded'`))
	c.enter(`nav a[href="/status"]`)
	c.see("#problems", "Nothing is wrong.")
}

// tab presses Tab until what it looks for has the focus.
func (c *console) tab(selector string) {
	c.Helper()
	for range 100 {
		c.press("\t")
		var there bool
		require.NoError(c, c.page.Call(&there, `s => document.activeElement.matches(s)`, selector))
		if there {
			return
		}
	}
	require.Fail(c, "the keyboard does not reach "+selector)
}

// staysThere has the page replace what has the focus by what is new, which then has it.
func (c *console) staysThere() {
	c.Helper()
	var same bool
	require.NoError(c, c.page.Call(&same, `async () => {
		const before = document.activeElement
		while (before.isConnected) {
			await read()
			await new Promise(resolve => setTimeout(resolve, 10))
		}
		return document.activeElement.cloneNode(false).isEqualNode(before.cloneNode(false))
	}`))
	require.True(c, same, "the page goes on, and the focus is lost")
}

// enter presses Enter there.
func (c *console) enter(selector string) {
	c.Helper()
	c.tab(selector)
	c.press("\r")
}

// everyPage looks at the pages of a service with something to see.
func everyPage(t *testing.T, browser *harness.Browser) {
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: withConsole()})
	c := openOperations(t, s, browser, s.Consumers[0])
	c.see("h1", "Log in")
	c.logIn("not the token")
	c.see("main", "That is not the token.")
	c.looksRight("operations-login")
	c.logIn(operationsToken)
	c.see("h1", "Status")
	verified(t, s)
	for _, label := range c.sections() {
		c.follow(label)
		c.looksRight("operations-" + regexp.MustCompile(`\W+`).ReplaceAllString(strings.ToLower(label), "-"))
	}
	c.clean()
}

// hostileService has a service say what would run in a page that takes text for markup.
func hostileService(t *testing.T, browser *harness.Browser) {
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: withConsole()})
	_, err := s.DB.ExecContext(t.Context(), `
		INSERT INTO processes (id, role, version, phase, report, started_at, seen_at)
		VALUES (gen_random_uuid(), 'consumer', $1, $1, $2, now(), now() + interval '1 hour')`, markup, hostileReport(t))
	require.NoError(t, err)
	c := operate(t, s, browser, s.Consumers[0])
	c.see("main", "<script>top.ran")
	for _, label := range c.sections() {
		c.follow(label)
		c.clean()
	}
}

// hostileReport is what a process says of itself.
func hostileReport(t *testing.T) string {
	t.Helper()
	report, err := json.Marshal(map[string]any{
		"lanes":    []any{map[string]any{"queue": markup, "paused": true, "class": markup, "since": "2026-11-27T20:00:00Z"}},
		"troubles": map[string]string{"redis": markup, markup: markup},
	})
	require.NoError(t, err)
	return string(report)
}

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	events "github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/test/harness"
)

// console is the page of a standalone in a browser.
type console struct {
	*testing.T
	s    *app.Standalone
	page *harness.Page
}

// newConsole runs a standalone of its own until the test ends, and opens its page.
func newConsole(t *testing.T, browser *harness.Browser) *console {
	t.Helper()
	return newConsoleAt(t, browser, "127.0.0.1")
}

// newConsoleAt is newConsole for another address of this machine.
func newConsoleAt(t *testing.T, browser *harness.Browser, host string) *console {
	t.Helper()
	cfg, err := config.Load(config.Standalone)
	require.NoError(t, err)
	free, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	require.NoError(t, free.Close())
	cfg.HTTP.Host, cfg.HTTP.AppPort = host, free.Addr().(*net.TCPAddr).Port // which mails lead to
	cfg.HTTP.ConsumerPort, cfg.HTTP.InternalPort = 0, nil
	cfg.SMTP.Port, cfg.Embedded.InboxPort, cfg.Embedded.DataDir = 0, 0, t.TempDir()
	cfg.Cookie.Secure, cfg.Invitations.URL = false, ""
	s, err := app.NewStandalone(t.Context(), cfg, "test", zerolog.Nop())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return &console{t, s, browser.Open(s.APIURL())}
}

// click clicks on a button of a form, by its name.
func (c *console) click(form, button string) {
	c.Helper()
	require.NoError(c, c.page.Click("#"+form+" button[name="+button+"]"))
}

// fill types text into a field in place of what is there.
func (c *console) fill(field, text string) {
	c.Helper()
	var chosen bool
	require.NoError(c, c.page.Call(&chosen, `id => (document.getElementById(id).select(), true)`, field))
	require.NoError(c, c.page.Do(chromedp.SendKeys(chromedp.CSS("#"+field), text)))
}

// text returns what a person reads there.
func (c *console) text(selector string) string {
	c.Helper()
	var text string
	require.NoError(c, c.page.Call(&text, `s => document.querySelector(s).textContent`, selector))
	return text
}

// see waits until a person reads want there.
func (c *console) see(selector, want string) {
	c.Helper()
	harness.Soon(c, func() error {
		var got string
		// Between two pages there is nothing to read.
		err := c.page.Call(&got, `s => document.querySelector(s)?.textContent ?? ""`, selector)
		if err == nil && !strings.Contains(got, want) {
			err = fmt.Errorf("%s says %q, not %q", selector, got, want)
		}
		return err
	})
}

// code reads the code in the inbox's own page.
func (c *console) code(inbox *harness.Page) (code string) {
	c.Helper()
	harness.Soon(c, func() error {
		err := inbox.Call(&code, `() => document.querySelector("#list .chip")?.textContent ?? ""`)
		if err == nil && len(code) != 6 {
			err = fmt.Errorf("the inbox shows no code, but %q", code)
		}
		return err
	})
	return code
}

// keys returns the routing keys in the table, newest first.
func (c *console) keys() (keys []string) {
	c.Helper()
	require.NoError(c, c.page.Call(&keys, `() => [...document.querySelectorAll("#rows .key")].map(k => k.textContent)`))
	return keys
}

func TestConsole(t *testing.T) {
	t.Parallel()
	browser := harness.NewBrowser(t)
	t.Run("a person goes the whole way and sees what happens", func(t *testing.T) { consoleWay(newConsole(t, browser), browser) })
	t.Run("the inbox is beside it at [::1] as well", func(t *testing.T) { atIPv6(newConsoleAt(t, browser, "::1")) })
	t.Run("the keyboard alone is enough", func(t *testing.T) { keyboardAlone(newConsole(t, browser)) })
	t.Run("nothing of a mail, an address or an event runs", func(t *testing.T) { hostile(newConsole(t, browser), browser) })
}

func consoleWay(c *console, browser *harness.Browser) {
	require.NoError(c, c.page.Look(1600, 1000, "light"))
	c.see("#status", "live")
	require.NoError(c, c.page.Picture("console-empty", false))

	c.fill("email", "an@example.com")
	c.fill("password", "correct horse battery")
	c.click("account", "register")
	c.see("#account output", "Registered")
	inbox := browser.Open(c.s.Inbox().URL())
	c.fill("code", c.code(inbox))
	c.click("verify", "verify")
	c.see("#verify output", "Verified")
	c.see("#me", "an@example.com")
	c.see("#subscription", "trialing")
	c.see("#entitled", "yes")
	c.click("account", "logout")
	c.see("#me", "nobody")
	c.click("account", "login")
	c.see("#me", "an@example.com")

	c.click("invite", "invite")
	c.see("#invite output", "administrator")
	c.click("invite", "promote")
	c.see("#role", "ADMIN")
	c.click("invite", "invite")
	c.see("#invite output", "3 of 3 sent")
	c.invited(browser)

	c.fill("days", "11")
	c.click("travel", "advance")
	c.see("#travel output", "Something was due")
	c.see("#entitled", "yes")
	c.fill("days", "3")
	c.click("travel", "advance")
	c.see("#entitled", "no")
	c.see("#rows", "subscription.cancelled")
	require.Equal(c, "Something was due", strings.SplitN(c.text("#travel output"), " on ", 2)[0])

	counted := map[string]int{}
	for _, key := range c.keys() {
		counted[key]++
	}
	require.Equal(c, map[string]int{
		"email.verification.requested": 1, "subscription.created": 2, "user.verified": 2, "invitation.requested": 3, "job.completed": 1,
		"email.project_completed.requested": 1, "email.trial_ending.requested": 4, "subscription.cancelled": 2,
	}, counted)
	require.Len(c, c.s.Inbox().Messages("an@example.com"), 4, "code, closing mail, two reminders")
	c.looksRight("console")
	(&console{c.T, c.s, inbox}).looksRight("inbox")
	require.NotContains(c, fmt.Sprint(c.page.Messages()), "Content Security Policy")
	require.NotContains(c, fmt.Sprint(c.page.Messages()), "Uncaught")
	require.Empty(c, inbox.Messages())
}

// atIPv6 looks at the page at an address that no policy can name.
func atIPv6(c *console) {
	c.see("#status", "live")
	var address string
	require.NoError(c, c.page.Call(&address, `() => location.hostname`))
	require.Equal(c, "localhost", address)
	c.click("account", "register")
	c.see("#account output", "Registered")
	harness.Soon(c, func() error {
		for _, m := range c.page.Messages() {
			if strings.Contains(m.Text, "Content Security Policy") || strings.Contains(m.Text, "frame") {
				return errors.New(m.Text)
			}
		}
		return nil
	})
	var frames int
	require.NoError(c, c.page.Call(&frames, `() => document.querySelectorAll("iframe").length`))
	require.Equal(c, 1, frames)
	require.NoError(c, c.page.Picture("console-ipv6", false))
}

// invited opens the batch's progress in a tab of its own, and goes where the mail of an invitation leads.
func (c *console) invited(browser *harness.Browser) {
	c.Helper()
	tab := &console{c.T, c.s, browser.Open(c.s.APIURL())}
	var batch string
	require.NoError(c, c.page.Call(&batch, `() => document.getElementById("batch").href`))
	require.NoError(c, tab.page.Do(chromedp.Navigate(batch)))
	tab.see("#said", "3 of 3 sent\nDone.")
	tab.looksRight("progress")

	mails, err := c.s.Inbox().Wait(c.Context(), "anna@example.com", 1)
	require.NoError(c, err)
	link := regexp.MustCompile(`http://\S+/accept-invitation#token=\S+`).FindString(mails[0].Text)
	require.NoError(c, tab.page.Do(chromedp.Navigate(link)))
	var address string
	require.NoError(c, tab.page.Call(&address, `() => location.href`))
	require.Equal(c, c.s.APIURL()+"/accept-invitation", address, "the token does not stay in the address")
	tab.fill("password", "short")
	require.NoError(c, tab.page.Do(chromedp.KeyEvent("\r")))
	tab.see("#said", "8 characters")
	tab.looksRight("accept")
	tab.fill("password", "correct horse battery")
	require.NoError(c, tab.page.Do(chromedp.KeyEvent("\r")))
	tab.see("#said", "active")
	tab.looksRight("accepted")

	require.NoError(c, tab.page.Do(chromedp.Navigate(link))) // which only changes the fragment
	harness.Soon(c, func() error {
		var again bool
		err := tab.page.Call(&again, `() => !document.getElementById("accept").hidden && !location.hash`)
		if err == nil && !again {
			err = errors.New("the page is not for another invitation yet")
		}
		return err
	})
	tab.fill("password", "correct horse battery")
	require.NoError(c, tab.page.Do(chromedp.KeyEvent("\r")))
	tab.see("#said", "used already")
	c.click("account", "login") // the browser has been Anna's
	c.see("#me", "an@example.com")
}

func (c *console) looksRight(name string) {
	c.Helper()
	looksRight(c, c.page, name)
}

// looksRight has axe-core look at a page in both colours, and no width have a part of it out of sight. It leaves pictures of
// a phone and of a wide screen.
func looksRight(tb testing.TB, page *harness.Page, name string) {
	tb.Helper()
	for _, colours := range []string{"light", "dark"} {
		for _, width := range []int64{390, 800, 1280, 1600} {
			require.NoError(tb, page.Look(width, 1000, colours))
			var wide int64
			require.NoError(tb, page.Call(&wide, `() => document.documentElement.scrollWidth`))
			require.LessOrEqual(tb, wide, width, name)
			if width == 390 || width == 1600 {
				require.NoError(tb, page.Picture(fmt.Sprintf("%s-%s-%d", name, colours, width), true))
			}
		}
		serious, checked, err := page.Axe()
		require.NoError(tb, err)
		require.Empty(tb, serious, "%s %s", name, colours)
		if !checked {
			tb.Log("axe-core has not looked at the page: deployments/stack.sh need axe brings it")
		}
	}
}

// keyboardAlone goes from field to field as a person without a mouse does.
func keyboardAlone(c *console) {
	c.see("#status", "live")
	press := func(keys string) { require.NoError(c, c.page.Do(chromedp.KeyEvent(keys))) }
	at := func() (name string) {
		require.NoError(c, c.page.Call(&name, `() => document.activeElement.id || document.activeElement.name || document.activeElement.hash || ""`))
		return name
	}
	var order []string
	for range 60 {
		press("\t")
		here := at()
		if len(order) > 0 && here == order[len(order)-1] { // within the inbox
			break
		}
		if order = append(order, here); here == "advance" {
			break
		}
	}
	want := []string{
		"#flow", "#person", "#flow", "#inbox", "", "email", "password", "remember", "register", "login", "logout", "code", "verify",
		"again", "promote", "addresses", "invite", "days", "advance",
	}
	require.Equal(c, want, order)

	require.NoError(c, c.page.Do(chromedp.Focus(chromedp.CSS("#email"))))
	press("\r")
	c.see("#account output", "Registered")
	require.Equal(c, "code", at(), "the next thing to type")
	mails, err := c.s.Inbox().Wait(c.Context(), "you@example.com", 1)
	require.NoError(c, err)
	press(regexp.MustCompile(`\b\d{6}\b`).FindString(mails[0].Text) + "\r")
	c.see("#entitled", "yes")
}

// markup would run in a page that takes text for markup.
const markup = `"'><img src=x onerror="top.ran=1;document.title='ran'"><script>top.ran=1;document.title='ran'</script><svg onload="top.ran=1">`

func hostile(c *console, browser *harness.Browser) {
	c.see("#status", "live")
	mail := "From: " + markup + " <evil@example.com>\r\nTo: an@example.com\r\nX-Evil: " + markup + "\r\nSubject: " + markup +
		"\r\nContent-Type: text/html\r\n\r\n<body onload=\"top.ran=1\">" + markup + "<a href=\"javascript:top.ran=1\">click</a>\r\n"
	require.NoError(c, smtp.SendMail(c.s.Inbox().SMTPAddr(), nil, "evil@example.com", []string{`"<svg/onload=top.ran=1>"@example.com`},
		[]byte(mail)))
	inbox := browser.Open(c.s.Inbox().URL())
	harness.Soon(c, func() error {
		return inbox.Click("#list a")
	})
	for _, tab := range []string{"#tab-html", "#tab-text", "#tab-headers"} {
		require.NoError(c, inbox.Click(tab))
	}
	harness.Soon(c, func() error {
		var headers string
		if err := inbox.Call(&headers, `() => document.querySelector("#header-rows").textContent`); err != nil {
			return err
		}
		if !strings.Contains(headers, "X-Evil") {
			return fmt.Errorf("the headers are not there yet: %q", headers)
		}
		return nil
	})

	var refused string
	for _, address := range []string{markup + "@example.com", `"` + strings.ReplaceAll(markup, `"`, `\"`) + `"@example.com`} {
		require.NoError(c, c.page.Call(&refused, `async email => {
			const form = document.getElementById("account")
			form.noValidate = true
			document.getElementById("email").type = "text"
			document.getElementById("email").value = email
			form.querySelector("button[name=register]").click()
			return ""
		}`, address))
		c.see("#account output", "e-mail address")
		require.NoError(c, c.page.Call(&refused, `async address => {
			document.getElementById("addresses").value = address
			document.querySelector("#invite button[name=invite]").click()
			return ""
		}`, address))
	}
	require.NoError(c, c.s.Send(c.Context(), events.Message{
		ID: markup, Exchange: events.Exchange, RoutingKey: "email." + markup, Body: []byte(markup),
		Headers: map[string]string{events.HeaderTraceparent: "00-" + markup + "-1-1"},
	}))
	c.see("#rows", `<script>top.`)
	for _, page := range []*harness.Page{c.page, inbox} {
		var ran string
		require.NoError(c, page.Call(&ran, `() => (window.ran ?? "") + document.title`))
		require.NotContains(c, ran, "ran")
		require.NotContains(c, ran, "1")
		var added int
		require.NoError(c, page.Call(&added, `() => document.querySelectorAll("main script, main svg, main img, main a[href^=javascript]").length`))
		require.Zero(c, added)
		require.False(c, slices.ContainsFunc(page.Messages(), func(m chromedp.ConsoleMessage) bool {
			return strings.Contains(m.Text, "Uncaught")
		}))
	}
}

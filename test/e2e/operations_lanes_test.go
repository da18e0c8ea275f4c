//go:build e2e

package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestOperationsSections has an operator pause and resume a lane, look up a person and act on their account, and follow a
// batch, in a browser.
func TestOperationsSections(t *testing.T) {
	t.Parallel()
	browser := harness.NewBrowser(t)
	env := withConsole()
	env["INVITATION_URL"], env["INVITATIONS_PER_SECOND"] = invitationURL, "100"
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: env})
	admin := administrator(t, s)
	c := operate(t, s, browser, s.Consumers[0])
	require.NoError(t, c.page.Look(1600, 1000, "light"))
	// send fills a form's fields and submits it.
	send := func(form string, fields map[string]string) {
		t.Helper()
		c.run(`(form, fields) => {
			window.confirm = () => true;
			const f = document.querySelector(form);
			for (const [name, value] of Object.entries(fields)) f.elements[name].value = value;
			f.requestSubmit();
		}`, form, fields)
	}

	// picture has axe look at a page that the navigation does not lead to as it is now, and keeps it.
	picture := func(name string) {
		t.Helper()
		serious, _, err := c.page.Axe()
		require.NoError(t, err)
		require.Empty(t, serious, name)
		require.NoError(t, c.page.Picture(name, true))
	}

	c.follow("Lanes")
	c.see("#state-identity\\.email", "open")
	send("#pause-identity\\.email form", map[string]string{"by": "an", "reason": "<b>the server moves</b>"})
	c.see(".said", "identity.email is paused")
	c.see("#state-identity\\.email", "paused by an")
	s.WaitLine(s.Consumers[0], "mail is paused by an operator")
	waiting := register(t, s)
	waits(t, s, 1)
	c.follow("Queues")
	c.see("#banner", "an has paused a lane since")
	picture("operations-lane-paused")
	c.follow("Lanes")
	picture("operations-lanes")
	send(`form[action="/lanes/resume"]`, map[string]string{"by": "binh"})
	c.see(".said", "an had paused it since")
	oneMail(t, s, waiting.email)

	c.follow("People")
	send("main form", map[string]string{"address": waiting.email})
	c.see("#who", waiting.email)
	var at string
	require.NoError(t, c.page.Call(&at, `() => location.href`))
	require.NotContains(t, at, "@")
	c.see("main", "verification")
	picture("operations-person")
	send("#do-disable", map[string]string{"by": "an", "reason": "a test"})
	c.see(".said", "The account is disabled")
	c.see("main", "Enable")
	require.Equal(t, 1, s.Count("SELECT count(*) FROM users WHERE username = $1 AND disabled_at IS NOT NULL", waiting.email))
	send("#do-enable", map[string]string{"by": "an"})
	c.see(".said", "The account is enabled")

	batch := admin.invite(t, newAddresses(4))
	c.follow("Batches")
	c.see("#batches", batch.ProjectID)
	c.run(`() => document.querySelector("#batches a").click()`)
	c.see("#project", "of 4")
	c.see("#project", "100 %")
	c.see("#hash", "DONE")
	picture("operations-project")
	c.follow("Projects")
	send("main form", map[string]string{"state": "completed"})
	c.see("#projects", batch.ProjectID)
	c.follow("Audit")
	send("main form", map[string]string{"operator": "an"})
	c.see("#audit", "lane.paused")
	c.see("#audit", "<b>the server moves</b>")
	c.see("#audit", "user.disabled")
	require.NotContains(t, c.text("#audit"), "lane.resumed")
	picture("operations-audit")
	c.clean()
}

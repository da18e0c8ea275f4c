//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

const invitations = "/users/invitations"

// invitationURL makes the token easy to find in a mail.
const invitationURL = "https://smap.example/accept-invitation#token={token}"

// startWithAdministrator starts a system that sends so many invitations per second, and an administrator.
func startWithAdministrator(t *testing.T, perSecond string, more ...string) (*harness.TestSystem, *person) {
	t.Helper()
	env := map[string]string{"INVITATIONS_PER_SECOND": perSecond, "INVITATION_URL": invitationURL}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2, Env: env})
	return s, administrator(t, s)
}

// administrator registers a person, makes them an administrator, and logs them in.
func administrator(t *testing.T, s *harness.TestSystem) *person {
	t.Helper()
	admin := verified(t, s)
	out := s.Command(nil, harness.API, "user", "promote", admin.email, "--by", "a test")
	require.Zero(t, out.Code, out.Stderr)
	want(t, http.StatusOK)(admin.client.Login(t.Context(), admin.email, harness.Password, false))
	return admin
}

// invited is the response to an upload.
type invited struct {
	ProjectID string `json:"project_id"`
	Accepted  int    `json:"accepted"`
	Rejected  []struct {
		Line    int    `json:"line"`
		Address string `json:"address"`
		Reason  string `json:"reason"`
	} `json:"rejected"`
}

// invite uploads addresses, all of which must be accepted.
func (p *person) invite(t *testing.T, addresses []string) (batch invited) {
	t.Helper()
	a := want(t, http.StatusAccepted)(p.client.Call(t.Context(), http.MethodPost, invitations, addresses))
	require.NoError(t, json.Unmarshal(a.Data, &batch))
	require.Equal(t, len(addresses), batch.Accepted)
	require.Empty(t, batch.Rejected)
	return batch
}

// newAddresses returns n addresses that nobody has.
func newAddresses(n int) (emails []string) {
	for range n {
		emails = append(emails, harness.Email())
	}
	return emails
}

var tokenInMail = regexp.MustCompile(`#token=([A-Za-z0-9_-]{22,})`)

// invitationToken waits for the only mail to an address and returns its token.
func invitationToken(t *testing.T, s *harness.TestSystem, email string) string {
	t.Helper()
	m := oneMail(t, s, email)
	found := tokenInMail.FindStringSubmatch(m.Text)
	require.Len(t, found, 2, m.Text)
	require.Contains(t, m.HTML, found[1])
	require.NotContains(t, m.Subject, found[1])
	return found[1]
}

func accept(t *testing.T, client *harness.Client, token string) (harness.Answer, error) {
	return client.Call(t.Context(), http.MethodPost, "/authentication/accept-invitation",
		map[string]string{"token": token, "password": harness.Password})
}

// closingMail waits for the administrator's second mail, after the one with their code: it reports the end of a batch.
// A consumer that is killed may send it twice.
func closingMail(t *testing.T, s *harness.TestSystem, admin *person, sent, failed int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	mails, err := s.Mailbox.Wait(ctx, admin.email, 2)
	require.NoError(t, err)
	m := mails[len(mails)-1]
	require.Contains(t, m.Subject, fmt.Sprintf("%d sent, %d failed", sent, failed))
	require.NotRegexp(t, tokenInMail, m.Text+m.HTML)
}

// TestInvitations follows batches of invitations.
func TestInvitations(t *testing.T) {
	t.Parallel()
	t.Run("a list with everything that can be wrong", inviteList)
	t.Run("a cancelled batch stops, and its addresses are free again", cancelBatch)
	t.Run("a refused invitation is counted, replayed, and counted again", refuseInvitation)
	t.Run("Redis loses a batch in the middle of it", forgetBatch)
	t.Run("apis and consumers are killed on the way", batchOnABadDay)
}

// inviteList uploads a list with everything that can be wrong with a line, and follows the people who are invited.
func inviteList(t *testing.T) {
	t.Parallel()
	const perSecond = 2 // slow enough for the order to be seen
	s, admin := startWithAdministrator(t, fmt.Sprint(perSecond))
	recorded := recordEvents(t, s)
	good := newAddresses(8)
	csv := "email,name\r\n" + strings.Join(good[:4], ",Somebody\r\n") + ",Somebody\r\n" +
		"not an address,x\n" + strings.ToUpper(good[0]) + "\n\n\"" + admin.email + "\",\"me, myself\"\n" + strings.Join(good[4:], "\n")
	upload := func(client *harness.Client, body string, key string) (harness.Answer, error) {
		return client.Call(t.Context(), http.MethodPost, invitations, body, "Content-Type", "text/csv", "Idempotency-Key", key)
	}
	key := uuid.NewString()
	began := time.Now()
	first := want(t, http.StatusAccepted)(upload(admin.client, csv, key))
	var batch invited
	require.NoError(t, json.Unmarshal(first.Data, &batch))
	require.Equal(t, len(good), batch.Accepted)
	require.Equal(t, `[{6 not an address invalid} {7 `+good[0]+` duplicate} {9 `+admin.email+` exists}]`,
		strings.ToLower(fmt.Sprint(batch.Rejected)))

	// Other mails do not wait, and no address is invited twice.
	registered(t, s)
	again := want(t, http.StatusAccepted)(upload(admin.client, csv, key))
	require.JSONEq(t, first.Raw, again.Raw)
	refused(t, http.StatusConflict, 20017)(upload(admin.client, good[0]+"\n", key))
	refused(t, http.StatusBadRequest, 20016)(admin.client.Call(t.Context(), http.MethodPost, invitations, `{"not":"a list"}`))
	other := verified(t, s)
	want(t, http.StatusForbidden)(upload(other.client, csv, uuid.NewString()))
	want(t, http.StatusUnauthorized)(upload(s.Client(), csv, uuid.NewString()))

	acceptInvitation(t, s, recorded, good[0])
	registerInstead(t, s, good[1])
	require.Equal(t, doneProgress(batch.ProjectID, len(good), 0), waitDone(t, admin.client, batch.ProjectID))
	require.GreaterOrEqual(t, time.Since(began), time.Duration(len(good)-1)*time.Second/perSecond, "paced")
	var order []string
	for _, m := range s.Mailbox.All("") {
		if strings.Contains(m.Text, "#token=") {
			order = append(order, m.To)
		}
	}
	require.ElementsMatch(t, good, order)
	for place, address := range order { // a relay that was kept waiting sends the rows of two seconds at once
		require.InDelta(t, slices.Index(good, address), place, 2*perSecond-1, "in the order of the list: %v", order)
	}
	closingMail(t, s, admin, len(good), 0)
	c := announced(t, s, recorded, batch.ProjectID)
	require.Equal(t, completed{batch.ProjectID, admin.id, len(good), len(good), 0, c.CompletedAt}, c)
	require.Equal(t, 1, len(announcements(t, s, recorded, batch.ProjectID)))
	require.Len(t, s.Mailbox.All(admin.email), 2, "a code and the end of one batch")
	want(t, http.StatusNotFound)(other.client.Call(t.Context(), http.MethodGet, "/projects/"+batch.ProjectID+"/progress", nil))
	hidesTokens(t, s, good)
}

// acceptInvitation accepts an invitation: one use of the token, and the person is logged in.
func acceptInvitation(t *testing.T, s *harness.TestSystem, recorded *eventRecorder, email string) {
	t.Helper()
	secret := invitationToken(t, s, email)
	p := &person{email: email, client: s.Client()}
	refused(t, http.StatusUnauthorized, 20004)(p.client.Login(t.Context(), email, harness.Password, false))
	loginCookie(t, want(t, http.StatusOK)(accept(t, p.client, secret)), 7200)
	p.id = userID(t, s, email)
	trialStarts(t, s, recorded, p)
	want(t, http.StatusOK)(s.Client().Login(t.Context(), email, harness.Password, false))
	refused(t, http.StatusConflict, 20013)(accept(t, s.Client(), secret))
	refused(t, http.StatusBadRequest, 20012)(accept(t, s.Client(), strings.Repeat("x", len(secret))))
}

// registerInstead registers an invited address without the token, which can no longer take over the account.
func registerInstead(t *testing.T, s *harness.TestSystem, email string) {
	t.Helper()
	secret := invitationToken(t, s, email)
	client := s.Client()
	want(t, http.StatusCreated)(client.Register(t.Context(), email, harness.Password))
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	mails, err := s.Mailbox.Wait(ctx, email, 2)
	require.NoError(t, err)
	want(t, http.StatusOK)(client.Verify(t.Context(), email, mails[1].Code()))
	refused(t, http.StatusConflict, 20013)(accept(t, s.Client(), secret))
	want(t, http.StatusOK)(s.Client().Login(t.Context(), email, harness.Password, false))
}

// hidesTokens checks that no log holds tokens or addresses, and the database no tokens once the mails have left.
func hidesTokens(t *testing.T, s *harness.TestSystem, emails []string) {
	t.Helper()
	s.OutboxEmpty()
	stored := dump(t, s)
	for _, email := range emails {
		secret := tokenOf(t, s, email)
		require.NotContains(t, stored, secret)
		for _, p := range s.Processes() {
			for _, line := range p.Log.Lines(0) {
				require.NotContains(t, line, secret, "%s", p.Name)
				require.NotContains(t, line, email, "%s", p.Name)
			}
		}
	}
}

// cancelBatch cancels a batch that is on its way.
func cancelBatch(t *testing.T) {
	t.Parallel()
	s, admin := startWithAdministrator(t, "4")
	recorded := recordEvents(t, s)
	other := verified(t, s)
	emails := newAddresses(60)
	batch := admin.invite(t, emails)
	sent := invitationToken(t, s, emails[1])
	cancel := invitations + "/" + batch.ProjectID + "/cancel"
	want(t, http.StatusForbidden)(other.client.Call(t.Context(), http.MethodPost, cancel, nil))
	refused(t, http.StatusNotFound, 20015)(admin.client.Call(t.Context(), http.MethodPost, invitations+"/none/cancel", nil))
	withdrawn := func() (n int) {
		a := want(t, http.StatusOK)(admin.client.Call(t.Context(), http.MethodPost, cancel, nil))
		var answer struct {
			Cancelled int `json:"cancelled"`
		}
		require.NoError(t, json.Unmarshal(a.Data, &answer))
		return answer.Cancelled
	}
	cancelled := withdrawn()
	require.Greater(t, cancelled, len(emails)/2)
	require.Equal(t, cancelled, withdrawn(), "cancelling again changes nothing")

	have := waitDone(t, admin.client, batch.ProjectID)
	require.Equal(t, doneProgress(batch.ProjectID, len(emails), cancelled), have)
	closingMail(t, s, admin, len(emails)-cancelled, cancelled)
	require.Equal(t, cancelled, announced(t, s, recorded, batch.ProjectID).Errors)
	s.OutboxEmpty()
	harness.Soon(t, func() error { return lengthIs(s, emailQueue, 0) })
	left := 0
	for _, email := range emails {
		left += len(s.Mailbox.All(email))
	}
	require.Equal(t, len(emails)-cancelled, left)

	// Invitations that have left stay valid. The other addresses are free again, for registering and for another batch.
	want(t, http.StatusOK)(accept(t, s.Client(), sent))
	last := emails[len(emails)-1]
	p := &person{email: last, client: s.Client()}
	want(t, http.StatusCreated)(p.client.Register(t.Context(), last, harness.Password))
	p.readMail(t, s)
	p.verify(t)
	next := admin.invite(t, emails[len(emails)-3:len(emails)-1])
	invitationToken(t, s, emails[len(emails)-2])
	require.Zero(t, waitDone(t, admin.client, next.ProjectID).Errors)
}

// refuseInvitation has the mail server refuse one invitation. It counts as failed and becomes a dead letter; replayed
// when the server has recovered, it is sent and counts as sent.
func refuseInvitation(t *testing.T) {
	t.Parallel()
	s, admin := startWithAdministrator(t, "20")
	recorded := recordEvents(t, s)
	s.Mailbox.Script(smtptest.At(smtptest.Rcpt).Reply(550).Times(1))
	emails := newAddresses(6)
	batch := admin.invite(t, emails)
	require.Equal(t, doneProgress(batch.ProjectID, 6, 1), waitDone(t, admin.client, batch.ProjectID))
	closingMail(t, s, admin, 5, 1)
	require.Equal(t, 1, announced(t, s, recorded, batch.ProjectID).Errors)
	letter := deadLetters(t, s, invitationQueue, 1)[0]
	require.Equal(t, "rejected", letter.Reason)
	require.Equal(t, "invitation.requested", letter.RoutingKey)

	require.Equal(t, "replayed", dlq(t, s, "replay", invitationQueue, "--id", letter.EventID)[0].Action)
	harness.Soon(t, func() error {
		have, err := readProgress(t, admin.client, batch.ProjectID)
		if err == nil && have.Errors != 0 {
			err = fmt.Errorf("%+v", have)
		}
		return err
	})
	for _, email := range emails {
		want(t, http.StatusOK)(accept(t, s.Client(), invitationToken(t, s, email)))
	}
	require.Equal(t, 1, len(announcements(t, s, recorded, batch.ProjectID)), "nothing is announced again")
	require.Len(t, s.Mailbox.All(admin.email), 2)
	require.Zero(t, s.QueueLength(invitationQueue+".dead"))
}

// forgetBatch flushes Redis in the middle of a batch. The batch is counted again from the database, and ends as if
// nothing had happened.
func forgetBatch(t *testing.T) {
	t.Parallel()
	s, admin := startWithAdministrator(t, "4")
	recorded := recordEvents(t, s)
	emails := newAddresses(24)
	batch := admin.invite(t, emails)
	invitationToken(t, s, emails[5])
	require.NoError(t, s.Redis.FlushDB(t.Context()).Err())
	require.Equal(t, doneProgress(batch.ProjectID, len(emails), 0), waitDone(t, admin.client, batch.ProjectID))
	closingMail(t, s, admin, len(emails), 0)
	require.Equal(t, 1, len(announcements(t, s, recorded, batch.ProjectID)))

	// And by command, once it is over.
	require.NoError(t, s.Redis.FlushDB(t.Context()).Err())
	out := s.Command(nil, harness.Consumer, "state", "rebuild")
	require.Zero(t, out.Code, out.Stderr)
	have, err := readProgress(t, admin.client, batch.ProjectID)
	require.NoError(t, err)
	require.Equal(t, "DONE", have.Status)
	require.Equal(t, len(emails), have.Done)
	require.Equal(t, 1, len(announcements(t, s, recorded, batch.ProjectID)))
	require.Len(t, s.Mailbox.All(admin.email), 2)
	for _, email := range emails {
		invitationToken(t, s, email)
	}
}

// batchOnABadDay kills apis and consumers while a batch is stored and while it is on its way. Everyone gets their mail,
// and none twice but for what RFC 1047 leaves open: one per kill.
func batchOnABadDay(t *testing.T) {
	t.Parallel()
	// Eighty mails are waited for: the others are enough for 17 s of restarts between them.
	s, admin := startWithAdministrator(t, "10", "INVITATION_WORKERS", "1") // a kill leaves one mail in doubt
	recorded := recordEvents(t, s)
	emails := newAddresses(250)
	batch := uploadThroughAKill(t, s, admin, emails)
	require.Equal(t, len(emails), s.Count("SELECT count(*) FROM invitations"))
	require.Equal(t, len(emails), s.Count("SELECT count(*) FROM users WHERE password_hash IS NULL OR password_hash = ''"))
	kills := 0
	for _, p := range []*harness.Process{s.Consumers[0], s.APIs[1], s.Consumers[1], s.Consumers[0]} {
		before := s.Mailbox.Reached(smtptest.EndOfData)
		s.WaitReached(smtptest.EndOfData, before+20)
		require.NoError(t, p.Kill())
		require.NoError(t, p.Start(t.Context()))
		kills++
	}
	require.Equal(t, doneProgress(batch.ProjectID, len(emails), 0), waitDone(t, admin.client, batch.ProjectID))
	repeated := 0
	for _, email := range emails {
		mails := s.Mailbox.All(email)
		require.NotEmpty(t, mails, "accepted, and no mail")
		for _, m := range mails {
			require.Equal(t, mails[0].MessageID, m.MessageID, "a repeat is recognisable")
		}
		repeated += len(mails) - 1
	}
	require.LessOrEqual(t, repeated, kills)
	t.Logf("%d mails repeated after %d kills", repeated, kills)
	closingMail(t, s, admin, len(emails), 0)
	require.Equal(t, len(emails), announced(t, s, recorded, batch.ProjectID).Done)
	require.Zero(t, s.QueueLength(emailQueue+".dead"))
	want(t, http.StatusOK)(accept(t, s.Client(), tokenOf(t, s, emails[100])))
}

func tokenOf(t *testing.T, s *harness.TestSystem, email string) string {
	t.Helper()
	return tokenInMail.FindStringSubmatch(s.Mailbox.All(email)[0].Text)[1]
}

// uploadThroughAKill uploads while the first api is killed, and repeats it with the same key until it gets a response.
func uploadThroughAKill(t *testing.T, s *harness.TestSystem, admin *person, emails []string) (batch invited) {
	t.Helper()
	key, done := uuid.NewString(), make(chan error, 1)
	go func() {
		done <- harness.Eventually(t.Context(), func() error {
			a, err := admin.client.Call(t.Context(), http.MethodPost, invitations, emails, "Idempotency-Key", key)
			if err == nil && a.Status != http.StatusAccepted {
				err = fmt.Errorf("%d %s", a.Status, a.Raw)
			}
			if err != nil {
				return err
			}
			return json.Unmarshal(a.Data, &batch)
		})
	}()
	require.NoError(t, s.APIs[0].Kill())
	require.NoError(t, s.APIs[0].Start(t.Context()))
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(harness.Patience):
		require.FailNow(t, "no response to an upload")
	}
	require.Equal(t, len(emails), batch.Accepted)
	return batch
}

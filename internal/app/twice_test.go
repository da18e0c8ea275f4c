package app

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/pkg/database"
)

// twice runs each transaction as one that loses a race: its function has run to the end, is rolled back, and runs again.
// Every test of a whole program runs on it, so that each of them shows that a second run has the result of one.
type twice struct {
	mu    sync.Mutex
	users map[string]bool // the functions that have used it: "authentication.Register"
}

// replace is an [Option].
func (tw *twice) replace(a *App) {
	a.tx = twiceOn{tw, a.db}
	a.longTx = twiceOn{tw, a.db.WithTxTimeout(inviteTx)}
}

type twiceOn struct {
	*twice
	db *database.DB
}

var errRolledBack = errors.New("rolled back, to be run again")

// WithinTxRetry implements transactor.
func (tw twiceOn) WithinTxRetry(ctx context.Context, fn func(context.Context) error) error {
	tw.remember()
	if _, err := tw.db.Tx(ctx); err == nil {
		return fn(ctx)
	}
	err := tw.db.WithinTx(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return errRolledBack
	})
	if !errors.Is(err, errRolledBack) {
		return err
	}
	return tw.db.WithinTx(ctx, fn)
}

var userOfTx = regexp.MustCompile(`/internal/(\w+)/usecase\.(?:\(?\*?\w+\)?\.)?(\w+)`)

// remember adds the caller of WithinTxRetry to the users.
func (tw *twice) remember() {
	pc, _, _, _ := runtime.Caller(2)
	name := userOfTx.FindStringSubmatch(runtime.FuncForPC(pc).Name())
	tw.mu.Lock()
	defer tw.mu.Unlock()
	if tw.users == nil {
		tw.users = map[string]bool{}
	}
	tw.users[name[1]+"."+name[2]] = true
}

func (tw *twice) list() []string {
	tw.mu.Lock()
	defer tw.mu.Unlock()
	return slices.Sorted(maps.Keys(tw.users))
}

// number returns the number that query selects.
func (p *program) number(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, p.db.Conn(t.Context()).QueryRowContext(t.Context(), query, args...).Scan(&n))
	return n
}

func TestTransactions(t *testing.T) {
	t.Run("have the same result when each has run before and was rolled back", func(t *testing.T) {
		t.Setenv("INVITATIONS_PER_SECOND", "1")
		t.Setenv("INTERNAL_KEY", internalKey)
		p := start(t, t.TempDir())
		const email, password = "minh@example.com", "a long enough one"
		login := fields{"email": email, "password": password}

		p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", login)
		mails, err := p.Inbox().Wait(t.Context(), email, 1)
		require.NoError(t, err)
		status, _, _ := p.call(t, http.MethodPost, "/authentication/verify-otp", fields{"email": email, "otp": "000000"})
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, 1, p.number(t, "SELECT wrong_tries FROM code_requests"))
		require.Equal(t, 1, p.number(t, "SELECT count FROM limits WHERE kind = 'code'"))
		status, _, _ = p.call(t, http.MethodPost, "/authentication/login", fields{"email": email, "password": "another one"})
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, 1, p.number(t, "SELECT count FROM limits WHERE kind = 'login' AND network = ''"))
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/send-otp", login)
		otp := sixDigits.FindString(mails[0].Text)
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp", fields{"email": email, "otp": otp})
		require.Equal(t, 1, p.number(t, "SELECT count(*) FROM subscriptions"))
		require.Equal(t, 1, p.number(t, "SELECT version FROM subscription_versions"))

		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		require.NoError(t, err)
		_, err = p.db.Exec(t.Context(), "storing", "UPDATE users SET password_hash = $1", string(hash))
		require.NoError(t, err)
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", login)
		require.Equal(t, 1, p.number(t, "SELECT count(*) FROM users WHERE password_hash LIKE '$argon2id$%'"))
		require.NoError(t, promote(t.Context(), p.cfg, p.db, email))
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", login)

		upload := "lan@example.com\nno address\nhoa@example.com\nmai@example.com\n"
		csv := []string{"Content-Type", "text/csv", "Idempotency-Key", "first"}
		var batch struct {
			ProjectID string `json:"project_id"`
			Accepted  int
			Rejected  []fields
		}
		first := p.ok(t, http.StatusAccepted, http.MethodPost, "/users/invitations", upload, csv...)
		require.NoError(t, json.Unmarshal(first, &batch))
		require.Equal(t, 3, batch.Accepted)
		require.Len(t, batch.Rejected, 1)
		require.Equal(t, 3, p.number(t, "SELECT total FROM invitation_batches"))
		require.Equal(t, 3, p.number(t, "SELECT count(*) FROM invitations"))
		require.JSONEq(t, string(first), string(p.ok(t, http.StatusAccepted, http.MethodPost, "/users/invitations", upload, csv...)))
		mails, err = p.Inbox().Wait(t.Context(), "lan@example.com", 1)
		require.NoError(t, err)
		var cancelled struct{ Cancelled int }
		require.NoError(t, json.Unmarshal(
			p.ok(t, http.StatusOK, http.MethodPost, "/users/invitations/"+batch.ProjectID+"/cancel", nil), &cancelled))
		require.Positive(t, cancelled.Cancelled)
		require.Equal(t, cancelled.Cancelled, p.number(t, "SELECT count(*) FROM invitations WHERE cancelled_at IS NOT NULL"))
		require.Equal(t, cancelled.Cancelled, p.number(t, "SELECT count(*) FROM mail_deliveries WHERE state = 'superseded'"))
		p.eventually(t, 1, "SELECT count(*) FROM project_completions")

		p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register",
			fields{"email": "lan@example.com", "password": password})
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/accept-invitation",
			fields{"token": invitationToken.FindString(mails[0].Text), "password": password})
		var mine struct{ ID string }
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/subscriptions/me", nil), &mine))
		p.ok(t, http.StatusOK, http.MethodPost, "/subscriptions/"+mine.ID+"/cancel", fields{})
		require.Equal(t, 2, p.number(t, "SELECT version FROM subscriptions WHERE id = $1", mine.ID))
		p.sell(t)
		p.eventually(t, 0, "SELECT count(*) FROM outbox")
		p.eventually(t, 0, "SELECT count(*) FROM mail_deliveries WHERE state IN ('owed', 'sending')")
		require.Equal(t, 1, p.number(t, "SELECT max(attempts) FROM mail_deliveries"))

		p.replaceCode(t)
		p.lifeOfTrial(t)
		p.recover(t)
		p.administer(t)
		p.pauseLane(t)

		require.Equal(t, []string{
			"authentication.CodeFailed", "authentication.EndAllSessions", "authentication.EndOtherSessions", "authentication.EndSession", "authentication.ForgotPassword", "authentication.Register", "authentication.Renew", "authentication.ResetPassword", "authentication.SendCode", "authentication.UpdateProfile", "authentication.Verify", "authentication.change", "authentication.changeLogin", "authentication.changePassword", "authentication.deleteOwn", "authentication.eraseRows", "authentication.issueAnother", "authentication.login", "authentication.mark", "authentication.newest", "authentication.record", "authentication.replace",
			"invitation.Accept", "invitation.Cancel", "invitation.storeBatch",
			"notification.updateEntry", "operations.Pause", "operations.Resume", "project.signal",
			"subscription.Apply", "subscription.Cancel", "subscription.Create", "subscription.CreatePlan", "subscription.Delete",
			"subscription.DeletePlan", "subscription.EndSubscription", "subscription.StartTrial", "subscription.Update", "subscription.UpdatePlan",
			"subscription.expireBatch", "subscription.remindBatch",
		}, p.twice.list())
		require.Len(t, p.twice.list(), retried(t), "a use case whose transaction may run twice is not in this test")
	})
}

// sell makes a plan, gives it to a user in every way, and takes all back.
func (p *program) sell(t *testing.T) {
	t.Helper()
	const email = "mua@example.com"
	p.loginAdmin(t)
	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": email, "password": "a long enough one"})
	userID := p.text(t, "SELECT id FROM users WHERE username = $1", email)
	var plan, sub struct{ ID string }
	read := func(data json.RawMessage, into any) { require.NoError(t, json.Unmarshal(data, into)) }
	read(p.ok(t, http.StatusCreated, http.MethodPost, "/plans", fields{"name": "Pro", "code": "pro"}), &plan)
	p.ok(t, http.StatusOK, http.MethodPut, "/plans/"+plan.ID, fields{"max_usage": 9})
	read(p.ok(t, http.StatusCreated, http.MethodPost, "/subscriptions",
		fields{"user_id": userID, "plan_id": plan.ID, "status": "active", "starts_at": p.clock.Now()}), &sub)
	p.ok(t, http.StatusOK, http.MethodPut, "/subscriptions/"+sub.ID, fields{"ends_at": p.clock.Now().Add(time.Hour)})
	p.ok(t, http.StatusOK, http.MethodPut, "/internal/subscriptions/users/"+userID,
		fields{"plan_code": "pro", "status": "past_due", "ends_at": nil, "occurred_at": p.clock.Now()}, "X-Internal-Key", internalKey)
	p.ok(t, http.StatusOK, http.MethodDelete, "/subscriptions/"+sub.ID, nil)
	p.ok(t, http.StatusOK, http.MethodDelete, "/plans/"+plan.ID, nil)
	require.Equal(t, 4, p.number(t, "SELECT version FROM subscription_versions WHERE user_id = $1", userID))
	require.Equal(t, 1, p.number(t, "SELECT count(*) FROM plans WHERE code = 'pro' AND max_usage = 9 AND deleted_at IS NOT NULL"))
}

// neverLeft is a mailer whose mails expire before they can leave.
type neverLeft struct{ authentications.Mailer }

func (neverLeft) SendVerification(context.Context, string, event.VerificationRequested) error {
	return event.Drop(event.DropExpired)
}

func (neverLeft) NeverLeft(context.Context, string) (bool, error) { return true, nil }

// replaceCode registers a person whose code dies unsent, and requires that they get one fresh code.
func (p *program) replaceCode(t *testing.T) {
	t.Helper()
	const email = "den@example.com"
	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": email, "password": "a long enough one"})
	_, err := p.Inbox().Wait(t.Context(), email, 1)
	require.NoError(t, err)
	var userID, eventID string
	require.NoError(t, p.db.Conn(t.Context()).QueryRowContext(t.Context(),
		"SELECT user_id, event_id FROM code_requests WHERE email = $1", email).
		Scan(&userID, &eventID))
	asked := p.clock.Now().Add(-time.Minute - authentication.CodeLifetime)
	age := func() {
		_, err = p.db.Exec(t.Context(), "ageing", "UPDATE code_requests SET code_at = $2, expires_at = $3 WHERE user_id = $1",
			userID, asked, asked.Add(authentication.CodeLifetime))
		require.NoError(t, err)
	}
	age()
	replaced := 0
	codes := authentications.NewCodeMailSender(authentications.CodeMailSenderDeps{
		Tx:       p.tx,
		Users:    authsql.NewUsers(p.db),
		Requests: authsql.NewCodeRequests(p.db),
		Mailer:   neverLeft{},
		Events:   outbox.NewPublisher(p.db, p.sealer, p.clock, p.relay.Wake),
		Clock:    p.clock,
		CodeKeys: authentication.CodeKeys{p.cfg.Secrets.CodeHMAC},
		Replaced: func(context.Context, string) { replaced++ },
	})
	require.Error(t, codes.Send(t.Context(), eventID, event.VerificationRequested{UserID: userID, Recipient: email, Locale: "en"}))
	require.Equal(t, 1, replaced)
	_, err = p.Inbox().Wait(t.Context(), email, 2)
	require.NoError(t, err)

	age()
	p.clock.Advance(authentication.ResendInterval)
	_, _, err = authentications.NewResender(authentications.ResenderDeps{
		Tx:       p.tx,
		Users:    authsql.NewUsers(p.db),
		Requests: authsql.NewCodeRequests(p.db),
		Guard:    p.newGuard(),
		Events:   outbox.NewPublisher(p.db, p.sealer, p.clock, p.relay.Wake),
		Audit:    newRecorder(p.db, p.clock),
		Clock:    p.clock,
		CodeKeys: authentication.CodeKeys{p.cfg.Secrets.CodeHMAC},
	}).Resend(t.Context(), email)
	require.NoError(t, err)
	require.Equal(t, 1, p.number(t, "SELECT count(*) FROM audit_entries WHERE action = $1", string(audit.MailResent)))
	mails, err := p.Inbox().Wait(t.Context(), email, 3)
	require.NoError(t, err)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp",
		fields{"email": email, "otp": sixDigits.FindString(mails[0].Text)})
}

// recover has a person forget their password, set another and change that.
func (p *program) recover(t *testing.T) {
	t.Helper()
	const email = "quen@example.com"
	p.verified(t, email, 1)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/forgot-password", fields{"email": email})
	mails, err := p.Inbox().Wait(t.Context(), email, 2)
	require.NoError(t, err)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/reset-password",
		fields{"email": email, "otp": sixDigits.FindString(mails[0].Text), "password": "another long one"})
	_, err = p.Inbox().Wait(t.Context(), email, 3)
	require.NoError(t, err)
	p.ok(t, http.StatusOK, http.MethodPost, "/users/me/change-password",
		fields{"old_password": "another long one", "new_password": "a third long one"})
	mails, err = p.Inbox().Wait(t.Context(), email, 4)
	require.NoError(t, err)
	require.Len(t, mails, 4)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": email, "password": "a third long one"})
	p.ok(t, http.StatusOK, http.MethodDelete, "/authentication/sessions", nil)
	sessions := p.number(t, "SELECT count(*) FROM sessions")
	p.clock.Advance(time.Hour)
	p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil)
	require.Equal(t, sessions, p.number(t, "SELECT count(*) FROM sessions"), "a new token belongs to the same session")
}

// administer does to accounts what administrators and their users do.
func (p *program) administer(t *testing.T) {
	t.Helper()
	const email, password = "bi.khoa@example.com", "a long enough one"
	id := p.verified(t, email, 1)
	recorded := func(action audit.Action) int {
		return p.number(t, "SELECT count(*) FROM audit_entries WHERE action = $1 AND user_id = $2", string(action), id)
	}
	p.ok(t, http.StatusOK, http.MethodPut, "/users/me", fields{"full_name": "An"})
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": email, "password": password})
	other := p.text(t, "SELECT id FROM sessions WHERE user_id = $1 AND ended_at IS NULL ORDER BY created_at LIMIT 1", id)
	p.ok(t, http.StatusOK, http.MethodDelete, "/authentication/sessions/"+other, nil)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": admin, "password": adminPassword})
	for range 2 {
		p.ok(t, http.StatusOK, http.MethodPut, "/users/"+id+"/role", fields{"role": "ADMIN"})
		p.ok(t, http.StatusOK, http.MethodPost, "/users/"+id+"/disable", fields{"reason": "a test"})
	}
	status, _, _ := p.call(t, http.MethodPost, "/authentication/login", fields{"email": email, "password": password})
	require.Equal(t, http.StatusForbidden, status)
	p.ok(t, http.StatusOK, http.MethodPost, "/users/"+id+"/enable", nil)
	accounts := administration(p.cfg, p.db, p.tx, p.clock, nil, nil)
	require.NoError(t, accounts.EndSessions(t.Context(), authentication.Operator, id))
	ended, err := accounts.EndAllSessions(t.Context(), authentication.Operator)
	require.NoError(t, err)
	require.Positive(t, ended)
	for range authentication.LoginTries + 2 {
		p.call(t, http.MethodPost, "/authentication/login", fields{"email": email, "password": "another one"},
			"X-Forwarded-For", "203.0.113.7")
	}
	p.clock.Advance(authentication.LoginPause)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": email, "password": password})
	p.ok(t, http.StatusOK, http.MethodDelete, "/users/me", fields{"password": password})
	for _, action := range []audit.Action{
		audit.UserVerified, audit.UserProfileChanged, audit.UserRoleChanged, audit.UserDisabled, audit.UserEnabled,
		audit.UserDeleted, audit.SessionEnded, audit.LoginLocked,
	} {
		require.Equal(t, 1, recorded(action), action)
	}
	require.Equal(t, 1, p.number(t, "SELECT count(*) FROM subscriptions WHERE user_id = $1 AND status = 'cancelled'", id))
	_, err = p.Inbox().Wait(t.Context(), email, 3)
	require.NoError(t, err)
	p.clock.Advance(time.Hour)
	erased, err := p.eraseUsers(t.Context(), p.clock.Now())
	require.NoError(t, err)
	require.Positive(t, erased)
	require.Equal(t, 1, recorded(audit.UserErased))
}

// pauseLane pauses a lane and resumes it.
func (p *program) pauseLane(t *testing.T) {
	t.Helper()
	lanes, ctx := newLanes(p.db, p.tx, p.clock), audit.WithOrigin(t.Context(), audit.Origin{Operator: "an"})
	_, err := lanes.Pause(ctx, EmailQueue, "a test")
	require.NoError(t, err)
	_, err = lanes.Resume(ctx, EmailQueue)
	require.NoError(t, err)
	for _, action := range []audit.Action{audit.LanePaused, audit.LaneResumed} {
		require.Equal(t, 1, p.number(t, "SELECT count(*) FROM audit_entries WHERE action = $1", string(action)))
	}
}

// lifeOfTrial lets a trial end, and requires that its user is reminded twice and that its end is made known once.
func (p *program) lifeOfTrial(t *testing.T) {
	t.Helper()
	const email = "mai.trial@example.com"
	userID := p.verified(t, email, 1)
	events, untap := p.Tap("subscription.cancelled")
	defer untap()
	p.advance(t, 14)
	mails, err := p.Inbox().Wait(t.Context(), email, 3)
	require.NoError(t, err)
	require.Len(t, mails, 3)
	require.Equal(t, 2, p.number(t, "SELECT version FROM subscription_versions WHERE user_id = $1", userID))
	ended := 0
	for len(events) > 0 {
		if m := <-events; strings.Contains(string(m.Body), userID) {
			ended++
		}
	}
	require.Equal(t, 1, ended)
}

// eventually waits until the query returns n.
func (p *program) eventually(t *testing.T, n int, query string) {
	t.Helper()
	require.Eventually(t, func() bool { return p.number(t, query) == n }, 10*time.Second, 10*time.Millisecond)
}

// retried returns how many calls of WithinTxRetry the use cases have.
func retried(t *testing.T) (calls int) {
	t.Helper()
	root := os.DirFS("..")
	require.NoError(t, fs.WalkDir(root, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(path, "/usecase/") || strings.HasSuffix(path, "_test.go") || !strings.HasSuffix(path, ".go") {
			return err
		}
		content, err := fs.ReadFile(root, path)
		calls += strings.Count(string(content), ".WithinTxRetry(")
		return err
	}))
	return calls
}

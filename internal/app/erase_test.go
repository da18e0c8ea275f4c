package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/internal/subscription"
	subscriptionredis "github.com/smap-platform/identity/internal/subscription/repository/redisdb"
	"github.com/smap-platform/identity/pkg/database"
)

// clues are what a person could be found by, each by what it is.
func clues(s config.Secrets, email, name, password string, networks ...string) map[string][]byte {
	found := map[string][]byte{"address": []byte(email), "name": []byte(name), "password": []byte(password)}
	for i, digest := range slices.Concat(authentication.CodeKeys(codeKeys(s)).LimitDigests(email), recipientDigests(s, email)) {
		found[fmt.Sprintf("digest %d", i)] = digest
	}
	for _, network := range networks {
		found["network "+network] = []byte(network)
	}
	return found
}

// finds reports whether a text has a clue in it, as it is or in another form.
func finds(text, clue []byte) bool {
	lower := bytes.ToLower(text)
	for _, form := range [][]byte{
		clue, []byte(hex.EncodeToString(clue)), []byte(base64.StdEncoding.EncodeToString(clue)), []byte(base64.RawURLEncoding.EncodeToString(clue)),
	} {
		if bytes.Contains(lower, bytes.ToLower(form)) {
			return true
		}
	}
	return false
}

// dump returns the rows of every table of a database with every column, by table. What is compressed or sealed is in it as
// it was before.
func (p *program) dump(t *testing.T) map[string][][]byte {
	t.Helper()
	tables := map[string][][]byte{}
	names, err := p.db.Pool().QueryContext(t.Context(), "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
	require.NoError(t, err)
	for names.Next() {
		var name string
		require.NoError(t, names.Scan(&name))
		tables[name] = nil
	}
	require.NoError(t, errors.Join(names.Err(), names.Close()))
	for table := range tables {
		rows, err := p.db.Pool().QueryContext(t.Context(), "SELECT * FROM "+table)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			require.NoError(t, rows.Scan(into...))
			var row bytes.Buffer
			var eventID string
			for i, value := range values {
				if columns[i] == "event_id" {
					eventID, _ = value.(string)
				}
				raw, isBytes := value.([]byte)
				if !isBytes {
					raw = fmt.Append(nil, value)
				}
				fmt.Fprintf(&row, "%s=%s\n", columns[i], raw)
				if zipped, err := gzip.NewReader(bytes.NewReader(raw)); err == nil {
					_, err := io.Copy(&row, zipped)
					require.NoError(t, err)
				}
				if opened, err := p.sealer.Open(eventID, raw); err == nil {
					row.Write(opened)
				}
			}
			tables[table] = append(tables[table], row.Bytes())
		}
		require.NoError(t, errors.Join(rows.Err(), rows.Close()))
	}
	return tables
}

// foundIn returns where clues are found: in which tables, in which dead queues, and in which keys of Redis.
func (p *program) foundIn(t *testing.T, clues map[string][]byte) (found []string) {
	t.Helper()
	places := p.dump(t)
	for _, q := range Queues(p.cfg) {
		p.embedded.broker.DropDead(q.Name, func(m event.Message) bool {
			places[q.DeadQueue()] = append(places[q.DeadQueue()], m.Body)
			return false
		})
	}
	for place, texts := range places {
		for what, clue := range clues {
			if slices.ContainsFunc(texts, func(text []byte) bool { return finds(text, clue) }) {
				found = append(found, place+": "+what)
			}
		}
	}
	slices.Sort(found)
	return found
}

const erasedNetwork, erasedStranger = "198.51.100.77", "203.0.113.78"

// live lets a person do everything that leaves something behind, and has their account deleted.
func (p *program) live(t *testing.T, email, name, password string) (id string) {
	t.Helper()
	owner, stranger := p.surfer(t, erasedNetwork), p.surfer(t, erasedStranger)
	credentials := fields{"email": email, "password": password}
	require.Equal(t, []int{201, 0}, owner.verdict(t, "/authentication/register", credentials))
	otp := owner.newest(t, email, 1)
	require.Equal(t, []int{201, 0}, stranger.verdict(t, "/authentication/register", fields{"email": email, "password": "a guessed long one"}))
	require.Equal(t, []int{400, 20005}, stranger.verdict(t, "/authentication/verify-otp", fields{"email": email, "otp": otp}))
	require.Equal(t, []int{200, 0}, owner.verdict(t, "/authentication/verify-otp", fields{"email": email, "otp": otp}))
	id = p.text(t, "SELECT id FROM users WHERE username = $1 AND deleted_at IS NULL", email)
	require.Equal(t, []int{200, 0}, owner.verdict(t, "/authentication/login", credentials))
	status, _ := owner.send(t, http.MethodPut, "/users/me", fields{"full_name": name, "avatar_url": "https://example.com/" + strings.ReplaceAll(name, " ", "-")})
	require.Equal(t, http.StatusOK, status)
	for range authentication.LoginTries + 1 {
		stranger.post(t, "/authentication/login", fields{"email": email, "password": "a wrong long one"})
	}
	require.Equal(t, []int{200, 0}, owner.verdict(t, "/authentication/forgot-password", fields{"email": email}))

	csv := []string{"Content-Type", "text/csv", "Idempotency-Key", email}
	p.ok(t, http.StatusAccepted, http.MethodPost, "/users/invitations", "hoa@example.com\n"+strings.ToUpper(email)+"\n", csv...)
	p.ok(t, http.StatusOK, http.MethodPost, "/users/"+id+"/disable", fields{"reason": "asked by " + email})
	p.ok(t, http.StatusOK, http.MethodPost, "/users/"+id+"/enable", nil)
	p.ok(t, http.StatusOK, http.MethodPut, "/users/"+id+"/role", fields{"role": "ADMIN"})
	require.Equal(t, []int{200, 0}, owner.verdict(t, "/authentication/login", credentials))
	plans, _ := owner.send(t, http.MethodPost, "/plans", fields{"name": "Plan " + id, "code": "p" + id[:8], "max_usage": 1})
	require.Equal(t, http.StatusCreated, plans, "they do something to others")
	p.ok(t, http.StatusOK, http.MethodDelete, "/users/"+id, fields{"reason": name + " asked for it"})
	p.eventually(t, 0, "SELECT count(*) FROM outbox")
	p.eventually(t, 0, "SELECT count(*) FROM mail_deliveries WHERE state IN ('owed', 'sending')")
	return id
}

// leaveMails gives up a mail in the outbox, and another in the dead letters.
func (p *program) leaveMails(t *testing.T, email string) {
	t.Helper()
	_, events, err := publishing(t.Context(), p.cfg, p.db, zerolog.Nop())
	require.NoError(t, err)
	require.NoError(t, p.db.WithinTx(t.Context(), func(ctx context.Context) error {
		return events.Publish(ctx, event.Event{
			ID: event.NewID(), Key: event.EmailAccountExistsRequested, Time: p.clock.Now(), NotBefore: p.clock.Now().Add(time.Hour),
			Data: event.AccountExistsMail{UserID: "0b7c", Recipient: email, Locale: "en"},
		})
	}))
	_, err = p.db.Exec(t.Context(), "giving up", "UPDATE outbox SET failed_at = $1 WHERE sealed", p.clock.Now())
	require.NoError(t, err)
	for _, key := range []event.RoutingKey{"email.unheard.of", "invitation.unheard.of"} {
		require.NoError(t, errors.Join(p.broker.Send(t.Context(), []event.Message{{
			ID: event.NewID(), Exchange: event.Exchange, RoutingKey: string(key), Timestamp: p.clock.Now(), Mandatory: true,
			ContentType: "application/json", Body: []byte(`{"recipient":"` + email + `"}`),
		}})...))
	}
	for _, queue := range []string{EmailQueue, InvitationQueue} {
		require.Eventually(t, func() bool { return len(p.embedded.broker.Dead(queue)) > 0 }, 10*time.Second, time.Millisecond)
	}
}

func TestErasure(t *testing.T) {
	t.Setenv("CODE_HMAC_KEY_PREVIOUS", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("kp"), 16)))
	const email, name, password = "le.thi.xoa@example.com", "Zuzana Erasable", "quite a long one"
	p := start(t, t.TempDir())
	p.loginAdmin(t)
	id := p.live(t, email, name, password)
	p.leaveMails(t, email)
	all := clues(p.cfg.Secrets, email, name, password, erasedNetwork, erasedStranger)
	ofAddress := map[string][]byte{"address": []byte(email)}
	_, err := p.db.Exec(t.Context(), "a row under the other key", `INSERT INTO limits
(digest, kind, network, count, last_at, hour_at, hour_count, day_at, day_count)
SELECT $1, kind, 'other', count, last_at, hour_at, hour_count, day_at, day_count FROM limits LIMIT 1`,
		authentication.CodeKeys(codeKeys(p.cfg.Secrets)).LimitDigests(email)[1])
	require.NoError(t, err)

	require.Equal(t, []string{
		"audit_entries: address", "code_requests: address", "identity.email.dead: address", "identity.invitation.dead: address",
		"invitation_batches: address", "invitation_reports: address", "outbox: address", "users: address",
	}, p.foundIn(t, ofAddress), "the search finds")
	p.requireHeldKeys(t)
	before := strings.Join(p.foundIn(t, all), "\n")
	for _, what := range []string{
		"limits: digest 0", "limits: digest 1", "mail_deliveries: digest 2", "users: name", "audit_entries: name",
		"audit_entries: network " + erasedNetwork, "sessions: network " + erasedNetwork,
	} {
		require.Contains(t, before, what)
	}

	require.NoError(t, p.purgeOnce(t.Context()))
	require.Equal(t, before, strings.Join(p.foundIn(t, all), "\n"), "too early for anything")
	p.advance(t, 31)
	_, err = p.db.Exec(t.Context(), "kept", "UPDATE invitation_batches SET last_due_at = $1", p.clock.Now()) // its report is
	require.NoError(t, err)
	require.NotEmpty(t, p.state.Exists(t.Context(), subscriptionredis.Key(id)).Val())
	require.NoError(t, p.purgeOnce(t.Context()))

	require.Empty(t, p.foundIn(t, all))
	require.Equal(t, 1, p.number(t, `SELECT count(*) FROM users WHERE id = $1 AND username = id AND deleted_at IS NOT NULL
		AND erased_at IS NOT NULL AND password_hash IS NULL AND role_hash IS NULL AND locale IS NULL AND disabled_hash IS NULL`, id))
	require.Zero(t, p.state.Exists(t.Context(), subscriptionredis.Key(id)).Val())
	require.Zero(t, p.number(t, "SELECT count(*) FROM audit_entries WHERE user_id = $1 AND (address IS NOT NULL"+
		" OR ip_address IS NOT NULL OR user_agent IS NOT NULL OR reason IS NOT NULL)", id))
	report := p.dump(t)["invitation_reports"][0]
	require.Contains(t, string(report), `{"line":2,"address":"","reason":"exists"}`)
	for action, want := range map[audit.Action]string{
		audit.UserErased: "1 ", audit.OutboxErased: "1 outbox", audit.DeadLettersErased: "2 identity.email",
	} {
		n := p.number(t, "SELECT count(*) FROM audit_entries WHERE action = $1", string(action))
		require.Equal(t, want, fmt.Sprintf("%d %s", n, p.text(t, "SELECT COALESCE(min(subject_id), '') FROM audit_entries WHERE action = $1", string(action))))
	}
	require.Equal(t, "1 mails, older than ERASE_AFTER (720h0m0s)",
		p.text(t, "SELECT reason FROM audit_entries WHERE action = 'deadletters.erased' ORDER BY subject_id LIMIT 1"))

	entries := p.number(t, "SELECT count(*) FROM audit_entries")
	require.NoError(t, p.purgeOnce(t.Context()))
	require.Equal(t, entries, p.number(t, "SELECT count(*) FROM audit_entries"), "once")
	require.NotContains(t, p.logs.String(), "not all purged")
	require.NotContains(t, p.logs.String(), email)

	again := p.verified(t, email, len(p.Inbox().Messages(email))+1)
	require.Zero(t, p.number(t, "SELECT count(*) FROM subscriptions WHERE user_id = $1", again), "one trial for ever")
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": admin, "password": adminPassword})
	require.Contains(t, string(p.ok(t, http.StatusOK, http.MethodGet, "/audit?user_id="+id, nil)), `"action":"user.erased"`)
}

// The address may be another's by the time its first user is erased.
func TestErasureLeavesTheNextPerson(t *testing.T) {
	const email, name, password = "chung@example.com", "Zuzana Erasable", "quite a long one"
	p := start(t, t.TempDir())
	p.loginAdmin(t)
	p.live(t, email, name, password)
	p.clock.Advance(time.Hour)
	p.pass(time.Hour)
	next := p.verified(t, email, len(p.Inbox().Messages(email))+1)
	p.ok(t, http.StatusOK, http.MethodPut, "/users/me", fields{"full_name": "Another"})
	for range authentication.LoginTries + 1 {
		p.surfer(t, erasedStranger).post(t, "/authentication/login", fields{"email": email, "password": "a wrong long one"})
	}
	kept := map[string]int{}
	newer := " >= (SELECT created_at FROM users WHERE id = '" + next + "')"
	for what, query := range map[string]string{
		"users":    "SELECT count(*) FROM users WHERE full_name = 'Another' AND username = '" + email + "'",
		"requests": "SELECT count(*) FROM code_requests WHERE code_at" + newer,
		"sessions": "SELECT count(*) FROM sessions WHERE user_id = '" + next + "'",
		"limits":   "SELECT count(*) FROM limits WHERE last_at" + newer,
		"mails":    "SELECT count(*) FROM mail_deliveries WHERE recipient IS NOT NULL AND created_at" + newer,
		"entries":  "SELECT count(*) FROM audit_entries WHERE user_id = '" + next + "' AND (address IS NOT NULL OR ip_address IS NOT NULL)",
		"locked":   "SELECT count(*) FROM audit_entries WHERE user_id = '" + next + "' AND address = '" + email + "'",
	} {
		kept[query] = p.number(t, query)
		require.NotZero(t, kept[query], what)
	}
	erased, err := p.eraseUsers(t.Context(), p.clock.Now().Add(-time.Minute))
	require.NoError(t, err)
	require.Equal(t, int64(1), erased)
	for query, n := range kept {
		require.Equal(t, n, p.number(t, query), query)
	}
	p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil)
	require.NotContains(t, strings.Join(p.foundIn(t, map[string][]byte{"name": []byte(name)}), "\n"), "name")
}

// Everything in the database goes although Redis is away; the user counts as erased once it is back.
func TestErasureWithoutRedis(t *testing.T) {
	const email, name, password = "le.thi.xoa@example.com", "Zuzana Erasable", "quite a long one"
	p := start(t, t.TempDir())
	p.loginAdmin(t)
	id := p.live(t, email, name, password)
	p.clock.Advance(2 * time.Minute)
	p.embedded.redis.SetError("LOADING")
	erased, err := p.eraseUsers(t.Context(), p.clock.Now())
	require.ErrorContains(t, err, "smap:sub:"+id)
	require.Zero(t, erased)
	require.Empty(t, p.foundIn(t, clues(p.cfg.Secrets, email, name, password, erasedNetwork)))
	require.Zero(t, p.number(t, "SELECT count(*) FROM users WHERE erased_at IS NOT NULL"))
	p.embedded.redis.SetError("")
	for _, want := range []int64{1, 0} {
		erased, err = p.eraseUsers(t.Context(), p.clock.Now())
		require.NoError(t, err)
		require.Equal(t, want, erased)
	}
	require.Equal(t, 1, p.number(t, "SELECT count(*) FROM audit_entries WHERE action = 'user.erased' AND user_id = $1", id))
}

// A user from before trials were recorded is known by their row, and by a record once that is erased.
func TestErasureKeepsOneTrial(t *testing.T) {
	const email = "mai@example.com"
	p := start(t, t.TempDir())
	p.verified(t, email, 1)
	_, err := p.db.Exec(t.Context(), "as before", "DELETE FROM trial_digests")
	require.NoError(t, err)
	require.NoError(t, p.operator(t).Delete(t.Context(), email, ""))
	p.clock.Advance(2 * time.Minute)
	erased, err := p.eraseUsers(t.Context(), p.clock.Now())
	require.NoError(t, err)
	require.Equal(t, int64(1), erased)
	require.Equal(t, 1, p.number(t, "SELECT count(*) FROM trial_digests WHERE digest = $1",
		subscription.TrialKey(p.cfg.Secrets.TrialDigest).Digest(email)))
}

// held says of every table, and of every kind of key in Redis, what erasing a user does with it. docs/privacy.md says the
// same to readers.
var held = map[string]string{
	"users":                 "emptied",
	"code_requests":         "deleted",
	"code_request_browsers": "deleted", // with their request
	"account_notices":       "deleted",
	"sessions":              "deleted",
	"ended_tokens":          "deleted",
	"limits":                "deleted",
	"mail_deliveries":       "emptied",
	"audit_entries":         "emptied",
	"invitation_batches":    "emptied",
	"invitation_reports":    "emptied",
	"outbox":                "deleted", // what was given up; what waits leaves
	"legacy_mails":          "deleted", // as in the outbox
	"trial_digests":         "kept",
	"invitations":           "ids",
	"subscriptions":         "ids",
	"subscription_versions": "ids",
	"project_completions":   "ids",
	"mail_shadows":          "ids",
	"unnamed_mails":         "expires", // ten minutes after the mail
	"plans":                 "nobody's",
	"mail_pace":             "nobody's",
	"processes":             "nobody's",
	"lane_pauses":           "nobody's", // an operator's own words
	"goose_db_version":      "nobody's",
	"goose_lock":            "nobody's",

	"smap:sub:{user_id}":     "deleted",
	"smap:proj:{id}":         "ids",
	"smap:proj:{id}:items":   "ids",
	"smap:proj:{id}:failed":  "ids",
	"smap:user:{project_id}": "expires", // seven days after the project's last change
	"identity:open-projects": "ids",
	"identity:probe:{role}":  "nobody's",
}

func TestHeld(t *testing.T) {
	t.Parallel()
	t.Run("is what the page says", func(t *testing.T) {
		t.Parallel()
		page, err := os.ReadFile("../../docs/privacy.md")
		require.NoError(t, err)
		for place := range held {
			require.Contains(t, string(page), "`"+place+"`", "docs/privacy.md describes every place")
		}
	})
	t.Run("has every table", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			query := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
			if db.Dialect() == database.Postgres {
				query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
			}
			tables, err := database.All(t.Context(), db, "listing tables", database.Text, query)
			require.NoError(t, err)
			require.NotEmpty(t, tables)
			for _, table := range tables {
				require.Contains(t, held, table, "decide what erasing a user does with this table")
			}
		})
	})
}

// requireHeldKeys requires that there is no key in Redis about which nothing was decided.
func (p *program) requireHeldKeys(t *testing.T) {
	t.Helper()
	keys, err := p.state.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, key := range keys {
		require.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(held)), func(pattern string) bool {
			return regexp.MustCompile("^" + regexp.MustCompile(`\{\w+\}`).ReplaceAllString(pattern, "[^:]+") + "$").MatchString(key)
		}), "decide what erasing a user does with %s", key)
	}
}

package schematest

import (
	"context"
	"fmt"

	"github.com/smap-platform/identity/pkg/database"
)

// years are the rows number $1+1 to $2 of every table that grows, as years of use leave them: users with a
// subscription, a session, a request for a code, a mail and an entry of the record each. All have one hash, that of no
// password. Ids are digests of the number, so that they are in no order and can be computed.
var years = []string{
	`INSERT INTO users (id, username, password_hash, role_hash, is_active, created_at, updated_at)
	SELECT md5('user' || n)::uuid, 'person' || n || '@example.com', 'unhashed', 'user', true,
		now() - random() * interval '400 days', now() - random() * interval '10 days' FROM generate_series($1::int + 1, $2::int) n`,
	`INSERT INTO subscription_versions (user_id, version) SELECT md5('user' || n)::uuid, 1 FROM generate_series($1::int + 1, $2::int) n`,
	// Of ten one has no end, one an end, three a trial of whose end they have been reminded, and five have expired.
	`INSERT INTO subscriptions (id, user_id, plan_id, status, starts_at, ends_at, trial_ends_at, reminded_for, reminded_days,
		version, created_at, updated_at)
	SELECT md5('subscription' || n)::uuid, md5('user' || n)::uuid, p.id,
		CASE WHEN n % 10 < 2 THEN 'active' WHEN n % 10 < 5 THEN 'trialing' ELSE 'expired' END::subscription_status,
		now() - interval '14 days', CASE n % 10 WHEN 1 THEN now() + random() * interval '30 days' + interval '1 day' END,
		t.ends_at, t.ends_at, CASE WHEN t.ends_at < now() + interval '1 day' THEN 1 WHEN t.ends_at < now() + interval '3 days' THEN 3 END,
		1, now() - interval '14 days', now() - interval '14 days'
	FROM generate_series($1::int + 1, $2::int) n, plans p,
		LATERAL (SELECT CASE WHEN n % 10 >= 2 THEN now() + (n % 10 < 5)::int * 2 * (random() * interval '7 days' + interval '1 hour')
			- (n % 10 >= 5)::int * random() * interval '400 days' END AS ends_at) t
	WHERE p.code = 'free'`,
	`INSERT INTO sessions (id, user_id, remember, device_name, user_agent, ip_address, network, created_at, last_seen_at,
		expires_at, newest_iat)
	SELECT md5('session' || n)::uuid, md5('user' || n)::uuid, true, 'phone', 'Mozilla/5.0', '203.0.113.7', '203.0.113.0/24', t, t,
		t + interval '30 days', t
	FROM generate_series($1::int + 1, $2::int) n, LATERAL (SELECT now() - random() * interval '29 days' + n * interval '0 s' AS t) age`,
	`INSERT INTO audit_entries (id, at, action, outcome, user_id, address, ip_address, user_agent)
	SELECT md5('entry' || n)::uuid, now() - random() * interval '360 days', 'login_refused', 'refused', md5('user' || n)::uuid,
		'person' || n || '@example.com', '203.0.113.7', 'Mozilla/5.0' FROM generate_series($1::int + 1, $2::int) n`,
	`INSERT INTO mail_deliveries (event_id, kind, recipient, state, attempts, message_id, created_at, updated_at)
	SELECT 'evt_' || md5('mail' || n), 'verification', sha256(n::text::bytea), 'accepted', 1, md5('message' || n), t, t
	FROM generate_series($1::int + 1, $2::int) n, LATERAL (SELECT now() - random() * interval '29 days' + n * interval '0 s' AS t) age`,
	`INSERT INTO code_requests (id, purpose, email, user_id, locale, network, password_hash, password_tag, created_at, digest,
		event_id, wrong_tries, code_at, expires_at, used_at)
	SELECT md5('request' || n)::uuid, 'verification', 'person' || n || '@example.com', md5('user' || n)::uuid, 'en', '203.0.113.0/24',
		'unhashed', n % 65536, t, sha256(n::text::bytea), 'evt_' || md5('mail' || n), 0, t, t + interval '10 minutes', t
	FROM generate_series($1::int + 1, $2::int) n, LATERAL (SELECT now() - random() * interval '6 days' + n * interval '0 s' AS t) age`,
	`INSERT INTO code_request_browsers (request_id, digest)
	SELECT md5('request' || n)::uuid, sha256(n::text::bytea) FROM generate_series($1::int + 1, $2::int) n`,
	`INSERT INTO limits (digest, kind, network, count, last_at, hour_at, hour_count, day_at, day_count)
	SELECT sha256(n::text::bytea), 'known', '203.0.113.0/24', 0, t, t, 0, t, 0
	FROM generate_series($1::int + 1, $2::int) n, LATERAL (SELECT now() - random() * interval '29 days' + n * interval '0 s' AS t) age`,
	`INSERT INTO project_completions (project_id, event_id, completed_at)
	SELECT 'proj_' || md5('project' || n), 'evt_' || md5('project' || n), now() - random() * interval '29 days'
	FROM generate_series($1::int + 1, $2::int) n`,
}

// backlog are those of the outbox: of an hour in which none has left. Every fourth is one of many, and every other one was
// sealed with the key $3. Their ids are in the order in which they came due, as those of version 7 are.
const backlog = `INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, headers, body, sealed, seal_key, batch_id,
		event_time, created_at, available_at)
	SELECT id, 'evt_' || id, 'smap.events', 'email.verification.requested', 'application/json', true,
		'{}', convert_to(repeat('x', 500), 'UTF8'), false, CASE n % 2 WHEN 0 THEN $3::text END, CASE n % 4 WHEN 3 THEN 'proj_' || n % 7 END,
		t, t, t
	FROM generate_series($1::int + 1, $2::int) n, LATERAL (SELECT now() - interval '1 hour' + n * interval '3 milliseconds' AS t,
		(lpad(to_hex(n), 12, '0') || substr(md5('row' || n), 13))::uuid AS id) age
	ON CONFLICT DO NOTHING`

// plan is what subscriptions are to.
const plan = `INSERT INTO plans (id, name, code, max_usage, created_at, updated_at)
	VALUES (gen_random_uuid(), 'Free', 'free', 100, now(), now()) ON CONFLICT DO NOTHING`

// Grow fills every table that grows with use on PostgreSQL: the rows number from+1 to to of each. The id of number n is the
// MD5 digest of what it is and n, such as "user7", "session7", "subscription7". sealKey is the id of a key of the outbox.
func Grow(ctx context.Context, q database.Querier, from, to int, sealKey string) error {
	if _, err := q.ExecContext(ctx, plan); err != nil {
		return err
	}
	for _, statement := range years {
		if _, err := q.ExecContext(ctx, statement, from, to); err != nil {
			return fmt.Errorf("%.40s: %w", statement, err)
		}
	}
	if err := Refill(ctx, q, from, to, sealKey); err != nil {
		return err
	}
	_, err := q.ExecContext(ctx, "VACUUM ANALYZE") // as autovacuum has done long since
	return err
}

// Refill stores those of the rows of the outbox that are not there.
func Refill(ctx context.Context, q database.Querier, from, to int, sealKey string) error {
	_, err := q.ExecContext(ctx, backlog, from, to, sealKey)
	return err
}

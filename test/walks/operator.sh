#!/usr/bin/env bash
# An operator at 3 a.m.: docs/runbook.md, with each fault in turn on real servers.
# shellcheck disable=SC2016,SC2034 # run shows commands as they are typed, and evaluates them
. test/walks/lib.sh

runbook=docs/runbook.md
api_log=$logs/api consumer_log=$logs/consumer
servers() {
  start api 'api serve'
  start consumer 'consumer serve'
  await '"status":"ready"' 'curl -s http://127.0.0.1:$APP_PORT/ready'
  await '"status":"ready"' 'curl -s http://127.0.0.1:$CONSUMER_PORT/ready'
}
# register ADDRESS – prints the status.
register() {
  curl -s -o /dev/null -w '%{http_code}\n' "http://127.0.0.1:$APP_PORT/authentication/register" \
    -H 'Content-Type: application/json' -d "{\"email\":\"$1\",\"password\":\"correct horse\"}"
}
mail() { curl -s "$INBOX_URL/api/messages?to=$1" | grep -o '"subject":"[^"]*"'; }
metric() { curl -s "http://127.0.0.1:$1/metrics" | grep -E "^$2"; }

say "The shell, and whether it is well."
block $runbook stack-shell
servers
block $runbook shell
await '"data":\{"status":"healthy"' 'curl -s http://127.0.0.1:$CONSUMER_PORT/health'
block $runbook health
block $runbook is-it-well
sees 'consumer +dev +1'
await '^identity.subscription\s+0\s+0\s+1' 'rabbitmqctl list_queues name messages_ready messages_unacknowledged consumers | grep -v retry'
person an@example.com

block $runbook processes
sees consumer

say "No mails: the mail server is down."
stop_inbox() { kill "$(cat .stack/run/inbox.pid)"; }
run stop_inbox
run 'register binh@example.com'
await '"paused":true' 'curl -s http://127.0.0.1:$CONSUMER_PORT/health'
replace='s/an@example.com/binh@example.com/'
block $runbook one-person
replace=
sees 'verification +(owed|sending)'
block $runbook queues
sees 'identity.email'
run 'deployments/stack.sh restart inbox'
await verification 'mail binh@example.com'

say "No mails: no consumer runs."
stop consumer KILL
run 'register chi@example.com'
await '^identity.email\s+1\s+0\s+0' 'rabbitmqctl list_queues name messages_ready messages_unacknowledged consumers | grep -v retry'
await 'nobody consumes|no process of the role consumer' 'consumer status'
start consumer 'consumer serve'
await verification 'mail chi@example.com'

say "No mails: the broker has an alarm."
run 'rabbitmqctl set_vm_memory_high_watermark absolute 1MB'
run 'register dung@example.com'
sees 201
await 'blocked|memory' 'curl -s http://127.0.0.1:$APP_PORT/health/rabbitmq'
block $runbook alarm
sees 'memory'
await '1 row' "$(page $runbook outbox)"
block $runbook watermark
await verification 'mail dung@example.com'

say "Unroutable: someone has deleted a binding of ours."
run "curl -s -X DELETE \$RABBITMQ_MANAGEMENT_URL/api/bindings/%2F/e/smap.events/q/identity.email/email.%23"
run 'register em@example.com'
await verification 'mail em@example.com'
await 'unroutable' 'metric $APP_PORT event_publish_failures_total; metric $CONSUMER_PORT event_publish_failures_total'
block $runbook bindings-of-ours
sees 'email\.#'
block $runbook bindings

say "A queue refuses: someone has set a policy."
run "rabbitmqctl set_policy short '^identity\\.email\$' '{\"max-length\":0}' --apply-to queues"
await 'max-length' 'rabbitmqctl list_policies'
block $runbook policies
sees 'no queue has a limit'
stop consumer
run 'register giang@example.com; register hoa@example.com   # the first one still fits'
await 'refused' 'metric $APP_PORT event_publish_failures_total'
block $runbook outbox
sees 'verification.*refused'
block $runbook clear-policy
start consumer 'consumer serve'
await verification 'mail giang@example.com'
await verification 'mail hoa@example.com'

say "A missing right."
run "rabbitmqctl set_permissions identity '.*' '^identity' '.*'"
run "rabbitmqctl close_all_connections walk"
run 'register kim@example.com'
await 'rejected' 'metric $APP_PORT event_publish_failures_total; metric $CONSUMER_PORT event_publish_failures_total'
block $runbook permissions
run 'rabbitmqctl close_all_connections walk'
await verification 'mail kim@example.com'
await 'legacy_queue_refused 0' 'metric $CONSUMER_PORT legacy_queue_refused'

say "A dead letter."
run 'curl -s $RABBITMQ_MANAGEMENT_URL/api/exchanges/%2F/smap.events/publish -d "{\"properties\":{\"message_id\":\"x\"},\"routing_key\":\"project.created\",\"payload\":\"{}\",\"payload_encoding\":\"string\"}"'
await unreadable\|invalid 'consumer dlq list identity.project'
block $runbook dead-letters
block $runbook dead-letter
sees 'discarded|1'
block $runbook outbox-retry

await verification 'mail hoa@example.com'   # the row that was refused pauses for a minute at most

say "A lane that a person has paused."
run 'consumer lane pause identity.invitation --by walk --reason "the server moves"'
block $runbook lanes
sees 'walk since.*the server moves'
run 'consumer lane resume identity.invitation --by walk'

say "PostgreSQL is read-only."
run 'psql -c "ALTER DATABASE identity SET default_transaction_read_only = on" -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"'
await 'read-only' 'curl -s http://127.0.0.1:$APP_PORT/health -H "X-Internal-Key: $INTERNAL_KEY"'
run 'register lan@example.com'
sees 503
block $runbook read-only
sees '^f\|on'
block $runbook writable
await 201 'register lan@example.com'

say "A snapshot that stays open."
start report 'psql -c "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM users; SELECT pg_sleep(600)"'
await '1' "psql -Atc \"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND xact_start < now() - interval '1 second' AND pid <> pg_backend_pid()\""
replace='s/1 minute/1 second/'
block $runbook snapshots
replace=
sees 'BEGIN ISOLATION'
pid=$(psql -Atc "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()")
block $runbook end-snapshot
block $runbook connections
wait "${pids[report]}" || true
unset 'pids[report]'

say "Backup, an hour of life, and the restore."
run "cd $work"
block "$OLDPWD/$runbook" backup
run "cd $OLDPWD"
mv "$work/identity.dump" identity.dump
plan='{"plan_code":"free","status":"active","ends_at":null,"occurred_at":"'$(date -u +%FT%TZ)'"}'
run 'curl -s -X PUT http://127.0.0.1:$APP_PORT/internal/subscriptions/users/$user -H "X-Internal-Key: $INTERNAL_KEY" -H "Content-Type: application/json" -d "$plan"'
await 'active' 'r hget smap:sub:$user status'
run 'register minh@example.com'
await verification 'mail minh@example.com'
stop api
stop consumer
block $runbook restore
sees '00018'
sees_not pending
block $runbook after-restore
run 'r exists smap:sub:$user'
sees '^0'
servers
block $runbook rebuild
sees 'failed 0'
run 'psql -Atc "SELECT count(*) FROM users WHERE username = '"'minh@example.com'"'"'
sees '^0'
run 'curl -s -X PUT http://127.0.0.1:$APP_PORT/internal/subscriptions/users/$user -H "X-Internal-Key: $INTERNAL_KEY" -H "Content-Type: application/json" -d "$plan"'
await '^1000[0-9]{3}$' 'r hget smap:sub:$user version'
run 'register minh@example.com'
sees 201
block $runbook definitions
stop api
stop consumer

#!/usr/bin/env bash
# The developer of another service: docs/integrate.md alone, in Go and in Python, from an empty folder.
# shellcheck disable=SC2016,SC2034 # run shows commands as they are typed, and evaluates them
. test/walks/lib.sh

identity=$PWD page=$PWD/docs/integrate.md
start api 'make -s run-api'
start consumer 'make -s run-consumer'
. .stack/env
await '"data":\{"status":"healthy"' 'curl -s http://127.0.0.1:$APP_PORT/health'
await '"status":"ready"' 'curl -s http://127.0.0.1:$CONSUMER_PORT/ready'
broker() { (cd "$identity" && deployments/stack.sh rabbitmqctl -q "$@"); }

say "The operator makes an account at the broker for us. It can bind everything but what carries addresses and codes."
rabbitmqctl() { broker "$@"; }
VHOST=/
block docs/runbook.md broker-account
identity_url=$RABBITMQ_URL
admin=$RABBITMQ_MANAGEMENT_URL
RABBITMQ_URL=$(sed "s|//[^@]*@|//billing:$BILLING_PASSWORD@|" <<<"$identity_url")

say "An empty folder."
mkdir "$work/billing"
run "cd $work/billing"
replace="s|~/identity|$identity|; s/9000/$((9000 + STACK_PORT_OFFSET))/"
ours=$RABBITMQ_URL
block "$page" integrate-env
export RABBITMQ_URL=$ours

say "In Go."
block "$page" integrate-go
for file in consumer/main.go server/access.go server/entitlement.go server/main.go counter/main.go; do
  program "$page" "$file" "$file"
done
# The versions that this repository has: the walk is about the page, not about what was released since.
for module in github.com/rabbitmq/amqp091-go github.com/golang-jwt/jwt/v5 modernc.org/sqlite; do
  go mod edit -require "$module@$(awk -v m="$module" '$1 == m { print $2 }' "$identity/go.mod")"
done
block "$page" integrate-build
run 'go vet ./...'

say "In Python."
if ! /usr/bin/python3 -c 'import pika, jwt' 2>/dev/null; then
  printf '\n!!! python3-pika or python3-jwt is missing: installing it with apt-get\n'
  [ "$(id -u)" = 0 ] || sudo() { command sudo -n "$@"; }
  block "$page" integrate-python
fi
python=/usr/bin/python3 # Debian's, which sees Debian's packages
mkdir python
for file in access.py entitlement.py server.py consumer.py counter.py; do program "$page" "$file" "python/$file"; done

# service LANGUAGE CONSUMER SERVER COUNTER – the same with the programs of either language.
service() {
  local consumer=$2 server=$3 counter=$4
  say "$1: the consumer waits."
  start events "$consumer"
  await 'waiting for events' "cat $logs/events"
  say "$1: somebody registers, and it speaks."
  person "$1@example.com"
  await "subscription.created evt_[^ ]*: $user holds free, trialing, entitled: [Tt]rue" "cat $logs/events"

  say "$1: who is it, and what may they use?"
  start server "$server"
  await 'Please log in' 'curl -s http://$LISTEN/'
  run 'curl -s -b $jar http://$LISTEN/'
  sees "Hello $1@example.com, your plan is free \(trialing\)"
  run 'curl -s -H "Cookie: smap_auth_token=bad; $(awk "/smap_auth_token/ {print \$6 \"=\" \$7}" $jar)" http://$LISTEN/   # two cookies'
  sees Hello
  forged=$(printf '{"alg":"none","typ":"JWT"}' | base64 -w0 | tr -d '=')
  run 'curl -s -H "Authorization: Bearer $forged.$(awk "/smap_auth_token/ {print \$7}" $jar | cut -d. -f2)." http://$LISTEN/   # without a signature'
  sees 'Please log in'

  say "$1: the subscription is cancelled, and what was granted stays."
  subscription=$(curl -s -b "$jar" "$IDENTITY_URL/subscriptions/me" | grep -oE '[0-9a-f-]{36}' | head -n 1)
  run 'curl -s -X POST -b $jar $IDENTITY_URL/subscriptions/$subscription/cancel -H "Content-Type: application/json" -d "{}"'
  await "subscription.cancelled evt_[^ ]*: $user holds free, cancelled, entitled: [Tt]rue" "tail -n 1 $logs/events"
  run 'curl -s -b $jar http://$LISTEN/'
  sees 'free \(cancelled\)'

  say "$1: an event comes twice, and one that is no event comes at all."
  again='{"properties":{"type":"subscription.created","message_id":"again"},"routing_key":"billing.accounts","payload_encoding":"string","payload":"{\"event_id\":\"'$1'-again\",\"payload\":{\"data\":{\"user_id\":\"'$user'\",\"version\":1,\"plan_code\":\"free\",\"status\":\"trialing\",\"effective_until\":null}}}"}'
  curl -sS -o "$out" "$admin/api/exchanges/%2F/amq.default/publish" -d "$again"
  await 'again: older than what is stored' "tail -n 1 $logs/events"
  curl -sS -o "$out" "$admin/api/exchanges/%2F/amq.default/publish" -d "$again"
  await 'again: seen before' "tail -n 1 $logs/events"
  curl -sS -o "$out" "$admin/api/exchanges/%2F/amq.default/publish" -d '{"properties":{"type":"user.deleted","message_id":"poison"},"routing_key":"billing.accounts","payload_encoding":"string","payload":"{}"}'
  await 'poison: to the dead queue' "tail -n 1 $logs/events"
  await 'billing.accounts.dead.*1$' 'broker list_queues name messages | grep ^billing'

  say "$1: the consumer is killed. What happens meanwhile waits."
  stop events KILL
  run "(cd $identity && bin/api user disable $1@example.com --by walk)"
  start events "$consumer"
  await "user.disabled evt_[^ ]*: tokens of $user that are older are refused" "cat $logs/events"
  run 'curl -s -b $jar http://$LISTEN/'
  sees 'Please log in'

  say "$1: the account is deleted, and what it held is gone."
  run "(cd $identity && bin/api user delete $1@example.com --by walk)"
  await "user.deleted evt_[^ ]*: $user holds nothing any more" "cat $logs/events"

  say "$1: counting, with a Redis that hangs for a while."
  redis=$(cat "$identity/.stack/run/redis.pid")
  kill -STOP "$redis"
  start counter "$counter proj_$1 $user"
  await repeated "cat $logs/counter"
  kill -CONT "$redis"
  await FAILED "cat $logs/counter"
  sees 'DONE: 3 of 3 done, 0 failed, 100 %'
  stop events
  stop server
  wait "${pids[counter]}"
  unset 'pids[counter]'
  run "rm -f billing.db && cd $work/billing"
  broker purge_queue billing.accounts.dead
}

service go bin/consumer bin/server bin/counter
service python "$python -u python/consumer.py" "$python python/server.py" "$python python/counter.py"

say "The calls without a program."
replace=
block "$page" count
sees '"done":2,"errors":1'
sees '"completed":true'
sees '"status":"FAILED"'

say "What the account at the broker cannot do: bind what carries addresses and codes, and read our queues."
attempt() { "$python" -c "
import os, pika
channel = pika.BlockingConnection(pika.URLParameters(os.environ['RABBITMQ_URL'])).channel()
channel.confirm_delivery()
$1" 2>&1 | tail -n 1; }
for what in 'channel.queue_declare("billing.x"); channel.queue_bind("billing.x", "smap.events", "email.#")' \
  'channel.queue_declare("billing.x"); channel.queue_bind("billing.x", "smap.events", "#")' \
  'channel.basic_get("identity.email")' 'channel.basic_publish("smap.events", "subscription.created", b"{}")'; do
  run "attempt '$what'"
  sees ACCESS_REFUSED
done

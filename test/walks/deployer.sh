#!/usr/bin/env bash
# A platform engineer: README, deployments/README.md and docs/operations.md, with ENV=production, two api behind the proxy of
# deployments/nginx.conf, and two consumers.
# shellcheck disable=SC2016,SC2034 # run shows commands as they are typed, and evaluates them
. test/walks/lib.sh

export PATH=$PWD/bin:$PATH
. .stack/env
export ENV=production COOKIE_SECURE=true DB_AUTO_MIGRATE=false SMTP_FROM=no-reply@smap.example
first=$((8082 + STACK_PORT_OFFSET)) second=$((8083 + STACK_PORT_OFFSET)) edge=$((8084 + STACK_PORT_OFFSET))

say "A database of its own, empty, owned by the service's user."
export PGHOST=$POSTGRES_HOST PGPORT=$POSTGRES_PORT PGUSER=$POSTGRES_USER PGPASSWORD=$POSTGRES_PASSWORD PGDATABASE=$POSTGRES_DB
run 'psql -c "CREATE DATABASE deployed"'
export POSTGRES_DB=deployed

say "A start with secrets that everybody knows names each of them, and what to do."
fails 'JWT_SECRET=secret INTERNAL_KEY=12345678 COOKIE_SECURE=false api serve'
sees 'JWT_SECRET'
sees 'INTERNAL_KEY'
sees 'COOKIE_SECURE'
sees_not '12345678'

say "The schema, as a step of its own: an api that is earlier is not ready until then."
fails 'api migrate status'
sees 'pending'
start api-1 "env APP_PORT=$first INTERNAL_PORT=$((first + 10)) api serve"
await '503$' "curl -s -w '%{http_code}' http://127.0.0.1:$first/ready"
run 'api migrate up'
sees 'schema migrated|applied'
run 'api migrate up && api migrate status'
sees_not 'pending$'

say "Two api, two consumers, and the proxy of the repository: only its ports, and the names of the api, are others."
start api-2 "env APP_PORT=$second INTERNAL_PORT=$((second + 10)) api serve"
start consumer-1 'consumer serve'
start consumer-2 "env CONSUMER_PORT=$((CONSUMER_PORT + 10)) consumer serve"
for port in $first $second; do await '"status":"ready"' "curl -s http://127.0.0.1:$port/ready"; done
for port in $CONSUMER_PORT $((CONSUMER_PORT + 10)); do await '"status":"ready"' "curl -s http://127.0.0.1:$port/ready"; done
await 'ready' 'APP_PORT=$first api health'
sed -E "s/api-1:8080/127.0.0.1:$first/; s/api-2:8080/127.0.0.1:$second/; s/listen 8080/listen 127.0.0.1:$edge/
  s|/tmp/nginx.pid|$work/nginx.pid|; s|^http \{|&\n  client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;|" \
  deployments/nginx.conf >"$work/nginx.conf"
nginx=$(command -v nginx || echo /usr/sbin/nginx)
run "$nginx -t -q -c $work/nginx.conf && diff deployments/nginx.conf $work/nginx.conf | grep -c '^>'"
start nginx "$nginx -c $work/nginx.conf -g 'daemon off;'"
await '"status":"ready"' "curl -s http://127.0.0.1:$edge/ready"

say "What the outside must not see."
run "curl -s http://127.0.0.1:$edge/metrics"
sees '"error_code":404'
run "curl -s http://127.0.0.1:$edge/identity/internal/users/019c1000-0000-7000-8000-000000000001/entitlement"
sees '"error_code":40[14]'
run "curl -s http://127.0.0.1:$edge/health"
sees_not 'exchange'
run "curl -s http://127.0.0.1:$first/metrics"
sees '"error_code":404'
run "curl -s http://127.0.0.1:$((first + 10))/metrics | grep -c '^outbox_'"
run "curl -s http://127.0.0.1:$((first + 10))/health"
sees 'exchange'

say "The first administrator. With COOKIE_SECURE=true and no browser, the registration's value takes the place of the cookie."
json='Content-Type: application/json'
run "curl -s http://127.0.0.1:$edge/identity/authentication/register -H '$json' -d '{\"email\":\"root@smap.example\",\"password\":\"correct horse\"}'"
registration=$(grep -oE '"registration":"[^"]*"' "$out" | cut -d'"' -f4)
code=''
until [ "$code" ]; do
  code=$(curl -s "$INBOX_URL/api/messages?to=root@smap.example" | grep -oE '\b[0-9]{6}\b' | head -n 1)
done
run "curl -s http://127.0.0.1:$edge/authentication/verify-otp -H '$json' -d '{\"email\":\"root@smap.example\",\"otp\":\"'\$code'\",\"registration\":\"'\$registration'\"}'"
sees Success
run 'api user promote root@smap.example --by deployer'
run 'api user list --admins'
sees 'root@smap.example'
run 'api audit --limit 3'
sees 'user.role_changed'

say "A rolling restart under requests: none fails."
requests() {
  local until=$work/rolled
  while [ ! -e "$until" ]; do
    curl -s -o /dev/null -m 10 -w '%{http_code}\n' "http://127.0.0.1:$edge/plans"
  done
}
requests >"$work/statuses" &
visitor=$!
for n in 1 2; do
  port=$first
  [ $n = 1 ] || port=$second
  run "kill -TERM ${pids[api-$n]}"
  wait "${pids[api-$n]}" || true
  start "api-$n" "env APP_PORT=$port INTERNAL_PORT=$((port + 10)) api serve"
  await '"status":"ready"' "curl -s http://127.0.0.1:$port/ready"
  # The other one leaves only once the proxy has this one back (fail_timeout).
  await "$port" "curl -s -o /dev/null http://127.0.0.1:$edge/plans; tail -n 20 $logs/nginx"
done
touch "$work/rolled"
wait "$visitor"
run "sort $work/statuses | uniq"
[ "$(cat "$out")" = 200 ] || stumble 'some requests failed'

say "A change of JWT_SECRET without a break: the new one is accepted everywhere before it signs."
jar=$(mktemp -p "$work")
login() { curl -s -o /dev/null -D - "http://127.0.0.1:$1/authentication/login" -H "$json" \
  -d '{"email":"root@smap.example","password":"correct horse"}' | grep -ioE 'smap_auth_token=[^;]+' | tail -n 1; }
me() { curl -s -o /dev/null -w '%{http_code}\n' "http://127.0.0.1:$1/authentication/me" -H "Cookie: $2"; }
old=$(login "$first")
new_secret=$(head -c 48 /dev/urandom | base64 -w0)
stop api-2
start api-2 "env APP_PORT=$second INTERNAL_PORT=$((second + 10)) JWT_SECRET_PREVIOUS=\$new_secret api serve"
await '"status":"ready"' "curl -s http://127.0.0.1:$second/ready"
stop api-1
start api-1 "env APP_PORT=$first INTERNAL_PORT=$((first + 10)) JWT_SECRET=\$new_secret JWT_SECRET_PREVIOUS=\$JWT_SECRET api serve"
await '"status":"ready"' "curl -s http://127.0.0.1:$first/ready"
new=$(login "$first")
run 'me $first "$old"; me $second "$old"; me $first "$new"; me $second "$new"'
[ "$(sort -u "$out")" = 200 ] || stumble 'a token was refused'

say "Everything stops in order."
for name in nginx api-1 api-2 consumer-1 consumer-2; do stop $name; done
run "tail -qn 1 $logs/api-1 $logs/consumer-1"

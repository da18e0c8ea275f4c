# shellcheck shell=bash
# What a stack is: its folder, its ports, its secrets, and the file that tells programs about them.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
stack=$root/.stack

say() { printf 'stack: %s\n' "$*"; }
die() {
  printf 'stack: %s\n' "$*" >&2
  exit 1
}

# Reports whether the servers wait until the disk has what they write. With STACK_FSYNC=off RabbitMQ and PostgreSQL do
# not: a process that is killed loses nothing all the same, a machine that loses power does. It is for tests where the
# disk is slow: a broker that starts hundreds of quorum queues waits for it thousands of times.
fsync() { [ "${STACK_FSYNC:-on}" != off ]; }

# Variable, port at offset 0. All lie below 32768: from there on Linux hands ports to outgoing connections, and a
# client that keeps dialling a dead local server in that range sooner or later gets the server's port, or itself.
# The last two are not ours to open: they tell `api serve` and `consumer serve` where to listen.
port_table='
STACK_RABBITMQ_PORT             28672
STACK_RABBITMQ_MANAGEMENT_PORT  28673
STACK_RABBITMQ_DIST_PORT        28674
STACK_EPMD_PORT                 28675
STACK_REDIS_PORT                28379
STACK_POSTGRES_PORT             28432
STACK_SMTP_PORT                 28025
STACK_INBOX_PORT                28026
STACK_APP_PORT                  8080
STACK_CONSUMER_PORT             8081
'

# Settles every port: the variable itself, else default + STACK_PORT_OFFSET, else what this stack used last.
load_ports() {
  local offset=${STACK_PORT_OFFSET:-} name default saved port seen=' '
  [[ $offset =~ ^[0-9]{0,5}$ ]] || die "STACK_PORT_OFFSET must be a number like 10, not '$offset'"
  while read -r name default; do
    [ -n "$name" ] || continue
    saved=$(saved_port "$name")
    port=${!name:-}
    if [ -z "$port" ]; then
      if [ -n "$offset" ]; then port=$((default + 10#$offset)); else port=${saved:-$default}; fi
    fi
    if [[ ! $port =~ ^[1-9][0-9]{0,4}$ ]] || ((port > 65535)); then die "$name must be a port, not '$port'"; fi
    [[ $seen != *" $port "* ]] || die "$name: port $port is given to two servers of this stack"
    seen+="$port "
    printf -v "$name" %s "$port"
    export "${name?}"
  done <<<"$port_table"
}

saved_port() {
  [ ! -f "$stack/ports" ] || sed -n "s/^$1=//p" "$stack/ports"
}

save_ports() {
  local name default
  while read -r name default; do
    [ -z "$name" ] || printf '%s=%s\n' "$name" "${!name}"
  done <<<"$port_table" >"$stack/ports"
}

# Fails when this run asks for other ports than those the running servers have.
same_ports_as_before() {
  local name default saved
  while read -r name default; do
    [ -n "$name" ] || continue
    saved=$(saved_port "$name")
    [ -z "$saved" ] || [ "$saved" = "${!name}" ] ||
      die "the stack is running with $name=$saved, not ${!name}: 'deployments/stack.sh down' first, or leave STACK_* unset"
  done <<<"$port_table"
}

hex() { od -An -vtx1 -N "$1" /dev/urandom | tr -d ' \n'; }
base64_key() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }

# Loads .stack/secrets, after adding what it lacks. Secrets live as long as the data they open: until `clean`.
load_secrets() {
  local file=$stack/secrets name
  touch "$file"
  for name in RABBITMQ_PASSWORD REDIS_PASSWORD POSTGRES_PASSWORD; do
    grep -q "^$name=" "$file" || printf '%s=%s\n' "$name" "$(hex 24)" >>"$file"
  done
  for name in JWT_SECRET INTERNAL_KEY CODE_HMAC_KEY EVENTS_SEAL_KEY TRIAL_DIGEST_KEY; do
    grep -q "^$name=" "$file" || printf '%s=%s\n' "$name" "$(base64_key)" >>"$file"
  done
  set -a
  # shellcheck disable=SC1090
  . "$file"
  set +a
}

# Writes .stack/env: all that the binaries read. Written beside and renamed, so that nobody reads half of it.
write_env() {
  local line
  while IFS= read -r line; do
    printf "export %s='%s'\n" "${line%%=*}" "${line#*=}"
  done >"$stack/env.new" <<EOT
ENV=development
HOST=127.0.0.1
APP_PORT=$STACK_APP_PORT
CONSUMER_PORT=$STACK_CONSUMER_PORT
LOGGER_LEVEL=info
POSTGRES_HOST=127.0.0.1
POSTGRES_PORT=$STACK_POSTGRES_PORT
POSTGRES_USER=identity
POSTGRES_PASSWORD=$POSTGRES_PASSWORD
POSTGRES_DB=identity
POSTGRES_SSLMODE=disable
RABBITMQ_URL=amqp://identity:$RABBITMQ_PASSWORD@127.0.0.1:$STACK_RABBITMQ_PORT/
RABBITMQ_MANAGEMENT_URL=http://identity:$RABBITMQ_PASSWORD@127.0.0.1:$STACK_RABBITMQ_MANAGEMENT_PORT
REDIS_HOST=127.0.0.1
REDIS_PORT=$STACK_REDIS_PORT
REDIS_PASSWORD=$REDIS_PASSWORD
REDIS_STATE_DB=1
REDIS_CACHE_DB=0
SMTP_HOST=127.0.0.1
SMTP_PORT=$STACK_SMTP_PORT
SMTP_TLS=none
SMTP_USERNAME=
SMTP_PASSWORD=
SMTP_FROM=no-reply@smap.local
SMTP_FROM_NAME=SMAP
JWT_SECRET=$JWT_SECRET
INTERNAL_KEY=$INTERNAL_KEY
CODE_HMAC_KEY=$CODE_HMAC_KEY
EVENTS_SEAL_KEY=$EVENTS_SEAL_KEY
TRIAL_DIGEST_KEY=$TRIAL_DIGEST_KEY
COOKIE_SECURE=false
COOKIE_DOMAIN=
INBOX_URL=http://127.0.0.1:$STACK_INBOX_PORT
EOT
  mv "$stack/env.new" "$stack/env"
}

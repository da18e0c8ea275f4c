#!/usr/bin/env bash
# The local stack: real RabbitMQ, Redis, PostgreSQL and the mail inbox, private to this clone. See README.md.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
umask 077

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=stack/settings.sh
. "$here/stack/settings.sh"
# shellcheck source=stack/process.sh
. "$here/stack/process.sh"
# shellcheck source=stack/rabbitmq.sh
. "$here/stack/rabbitmq.sh"
# shellcheck source=stack/rabbitmq4.sh
. "$here/stack/rabbitmq4.sh"
# shellcheck source=stack/redis.sh
. "$here/stack/redis.sh"
# shellcheck source=stack/postgres.sh
. "$here/stack/postgres.sh"
# shellcheck source=stack/inbox.sh
. "$here/stack/inbox.sh"
# shellcheck source=stack/install.sh
. "$here/stack/install.sh"
# shellcheck source=stack/docker.sh
. "$here/stack/docker.sh"

servers='epmd rabbitmq redis postgres inbox'

usage() {
  cat <<'EOT'
deployments/stack.sh up             start what does not run, wait until all answers, write .stack/env;
                                    RABBITMQ_SERIES=4: with RabbitMQ 4 from Debian's next release (root, Linux)
deployments/stack.sh down           stop what it started; the data stay
deployments/stack.sh clean          down, then remove .stack and all data (also: down --purge)
deployments/stack.sh status         what runs where; exit 1 unless all of it answers
deployments/stack.sh restart NAME   stop NAME if it runs, start it, wait: rabbitmq, redis, postgres, inbox
deployments/stack.sh need TOOL      install browser, promtool or axe, which some checks run, where it is absent
deployments/stack.sh rabbitmqctl …  the broker's own tool, aimed at this stack's node
EOT
}

# Takes turns with other runs in this clone, e.g. two test packages that both want the stack.
lock() {
  exec 9>"$stack/lock"
  if command -v flock >/dev/null; then
    flock -w 300 9 || die "another stack.sh has been busy in this clone for 5 minutes"
  fi
}

prepare() {
  mkdir -p "$stack/run" "$stack/log" "$stack/bin"
  [ -O "$stack" ] || die "$stack belongs to another user: run this as that user, or remove it as that user with 'deployments/stack.sh clean'"
  load_ports
  load_secrets
}

up() {
  prepare
  lock
  choose_mode
  if anything_alive; then same_ports_as_before; fi
  save_ports
  if [ "$mode" = docker ]; then
    docker_up
    series=4 # by compose.yaml
  else
    choose_series
    # shellcheck disable=SC2086 # a list
    start $servers
  fi
  write_env
  where
}

anything_alive() {
  local name
  for name in $servers; do
    if alive "$name" || { [ "$mode" = docker ] && docker_running "$name"; }; then return; fi
  done
  return 1
}

where() {
  cat <<EOT
stack: up ($mode)
  RabbitMQ $series  amqp://127.0.0.1:$STACK_RABBITMQ_PORT/    management http://127.0.0.1:$STACK_RABBITMQ_MANAGEMENT_PORT (user identity)
  Redis       127.0.0.1:$STACK_REDIS_PORT (state in DB 1)
  PostgreSQL  127.0.0.1:$STACK_POSTGRES_PORT (user and database identity)
  Inbox       http://127.0.0.1:$STACK_INBOX_PORT    SMTP 127.0.0.1:$STACK_SMTP_PORT
  All of it, passwords included, in .stack/env: '. .stack/env'. Logs in .stack/log.
EOT
}

# Loads an existing stack; leaves the script when there is none.
existing() {
  [ -d "$stack" ] || { say "nothing here: 'deployments/stack.sh up' starts it"; exit "$1"; }
  prepare
  mode=$(cat "$stack/mode" 2>/dev/null || echo native)
  series=$(cat "$stack/series" 2>/dev/null || echo 3)
}

down() {
  existing 0
  lock
  if [ "$mode" = docker ]; then
    compose down ${1:+--volumes}
  else
    stop inbox rabbitmq redis postgres
    stop epmd
    rm -f "$stack/series" # the next one starts the machine's own broker again
  fi
  if [ -n "${1:-}" ]; then
    if [ -d "$stack/cluster" ]; then "$here/cluster.sh" down; fi
    if on_linux; then unmount_all; fi
    rm -rf "$stack"
    say "down, data removed"
  else
    say "down, data kept in .stack"
  fi
}

restart() {
  existing 1
  lock
  if [ "$mode" = docker ]; then
    docker_restart "$1"
    return
  fi
  stop "$1"
  if [ "$1" = rabbitmq ]; then start epmd rabbitmq; else start "$1"; fi
  say "$1 answers"
}

status() {
  local name port word bad=0
  existing 1
  if [ "$mode" = docker ]; then
    compose ps
    for name in $docker_servers; do docker_running "$name" || bad=1; done
    return "$bad"
  fi
  for name in $servers; do
    if ! alive "$name"; then
      word=down pid=- bad=1
    elif [ "$state" = T ]; then
      word='stopped (SIGSTOP)' bad=1
    elif "${name}_ready"; then
      word=up
    else
      word='not answering' bad=1
    fi
    printf '%-9s %-18s pid %-8s port' "$name" "$word" "$pid"
    for port in $("${name}_ports"); do printf ' %s' "${!port}"; done
    echo
  done
  return "$bad"
}

case "${1:-} ${2:-}" in
  'up ') up ;;
  'down ') down ;;
  'down --purge' | 'clean ') down --purge ;;
  'status ') status ;;
  'restart rabbitmq' | 'restart redis' | 'restart postgres' | 'restart inbox') restart "$2" ;;
  'need browser' | 'need promtool' | 'need axe')
    prepare
    lock
    "need_$2"
    ;;
  rabbitmqctl\ *)
    existing 1
    shift
    if [ "$mode" = docker ]; then compose exec -T rabbitmq rabbitmqctl "$@"; else rabbitmq_ctl "$@"; fi
    ;;
  'help ' | '--help ' | '-h ') usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac

#!/usr/bin/env bash
# The local cluster: three RabbitMQ nodes, Redis with a replica and three Sentinels, PostgreSQL with a standby, private
# to this clone. It is for tests of failovers; the stack beside it (stack.sh) has one of each.
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
# shellcheck source=stack/redis.sh
. "$here/stack/redis.sh"
# shellcheck source=stack/postgres.sh
. "$here/stack/postgres.sh"
# shellcheck source=stack/install.sh
. "$here/stack/install.sh"
# shellcheck source=cluster/rabbitmq.sh
. "$here/cluster/rabbitmq.sh"
# shellcheck source=cluster/redis.sh
. "$here/cluster/redis.sh"
# shellcheck source=cluster/postgres.sh
. "$here/cluster/postgres.sh"

stack=$root/.stack/cluster
servers='epmd rabbitmq1 rabbitmq2 rabbitmq3 redis1 redis2 sentinel1 sentinel2 sentinel3 postgres1 postgres2'
ready_seconds=240 # three brokers share what one has in the stack

# Variable, port at offset 0: none is one of the stack's, whatever multiple of ten either is moved by.
port_table='
STACK_EPMD_PORT                  27701
CLUSTER_RABBITMQ1_PORT           27711
CLUSTER_RABBITMQ2_PORT           27712
CLUSTER_RABBITMQ3_PORT           27713
CLUSTER_RABBITMQ1_MANAGEMENT     27714
CLUSTER_RABBITMQ2_MANAGEMENT     27715
CLUSTER_RABBITMQ3_MANAGEMENT     27716
CLUSTER_RABBITMQ1_DIST           27717
CLUSTER_RABBITMQ2_DIST           27718
CLUSTER_RABBITMQ3_DIST           27719
CLUSTER_REDIS1_PORT              27721
CLUSTER_REDIS2_PORT              27722
CLUSTER_SENTINEL1_PORT           27724
CLUSTER_SENTINEL2_PORT           27725
CLUSTER_SENTINEL3_PORT           27726
CLUSTER_POSTGRES1_PORT           27728
CLUSTER_POSTGRES2_PORT           27729
'

usage() {
  cat <<'EOF'
deployments/cluster.sh up               start what does not run, wait until all answers, write .stack/cluster/env
deployments/cluster.sh down             stop it; the data stay
deployments/cluster.sh clean            down, then remove .stack/cluster
deployments/cluster.sh env              print what the binaries read: '. .stack/cluster/env' does the same
deployments/cluster.sh status           what runs where (pids, ports); exit 1 unless all of it runs
deployments/cluster.sh kill|stop|start NAME
                                        end with SIGKILL, end in order, or start one: rabbitmq1 to 3, redis1, redis2,
                                        sentinel1 to 3, postgres1, postgres2. A PostgreSQL that starts beside a primary
                                        becomes its standby, from a new copy
deployments/cluster.sh promote          make the standby the primary (pg_ctl promote)
deployments/cluster.sh rabbitmqctl N …  the broker's own tool, aimed at node N
EOF
}

lock() {
  exec 9>"$stack/lock"
  flock -w 300 9 || die "another cluster.sh has been busy in this clone for 5 minutes"
}

prepare() {
  mkdir -p "$stack/run" "$stack/log" "$stack/bin"
  load_ports
  load_secrets
  grep -q '^SENTINEL_PASSWORD=' "$stack/secrets" || printf 'SENTINEL_PASSWORD=%s\n' "$(hex 24)" >>"$stack/secrets"
  set -a
  # shellcheck disable=SC1091
  . "$stack/secrets"
  set +a
}

existing() {
  [ -d "$stack/run" ] || { say "no cluster here: 'deployments/cluster.sh up' starts it"; exit "$1"; }
  prepare
}

up() {
  prepare
  lock
  choose_mode
  [ "$mode" = native ] || die "the cluster needs the servers as processes: it does not run in Docker"
  save_ports
  start epmd
  form_rabbitmq
  # shellcheck disable=SC2086 # a list
  start $servers
  await_redis
  write_cluster_env
  say "the cluster is up; all of it, passwords included, in .stack/cluster/env"
}

down() {
  existing 0
  lock
  # shellcheck disable=SC2046,SC2086 # a list
  stop $(printf '%s\n' $servers | grep -v epmd) epmd
  if [ -n "${1:-}" ]; then rm -rf "$stack"; fi
  say "the cluster is down"
}

status() {
  local name port bad=0
  existing 1
  for name in $servers; do
    alive "$name" || { pid=- state=down bad=1; }
    printf '%-10s %-5s pid %-8s port' "$name" "$state" "$pid"
    for port in $("${name}_ports"); do printf ' %s' "${!port}"; done
    echo
  done
  return "$bad"
}

# Ends server $1 with SIGKILL and returns when it has let go of its ports.
kill_server() {
  if alive "$1"; then kill -KILL "$pid"; fi
  while alive "$1"; do sleep 0.02; done
  rm -f "$stack/run/$1.pid" "$stack/run/$1.id"
}

# The stack's env, with the cluster's servers over it.
write_cluster_env() (
  # shellcheck disable=SC2034 # read by write_env
  STACK_APP_PORT=8080 STACK_CONSUMER_PORT=8081 STACK_SMTP_PORT=1025 STACK_INBOX_PORT=8025 \
    STACK_POSTGRES_PORT=$CLUSTER_POSTGRES1_PORT STACK_REDIS_PORT=$CLUSTER_REDIS1_PORT \
    STACK_RABBITMQ_PORT=$CLUSTER_RABBITMQ1_PORT STACK_RABBITMQ_MANAGEMENT_PORT=$CLUSTER_RABBITMQ1_MANAGEMENT
  write_env
  local nodes='' management='' n port
  for n in 1 2 3; do
    port=CLUSTER_RABBITMQ${n}_PORT
    nodes+=",amqp://identity:$RABBITMQ_PASSWORD@127.0.0.1:${!port}/"
    port=CLUSTER_RABBITMQ${n}_MANAGEMENT
    management+=",http://identity:$RABBITMQ_PASSWORD@127.0.0.1:${!port}"
  done
  {
    printf "export %s='%s'\n" \
      RABBITMQ_URL "${nodes#,}" \
      RABBITMQ_MANAGEMENT_URL "${management#,}" \
      POSTGRES_HOST "127.0.0.1:$CLUSTER_POSTGRES1_PORT,127.0.0.1:$CLUSTER_POSTGRES2_PORT" \
      REDIS_SENTINEL_ADDRS "127.0.0.1:$CLUSTER_SENTINEL1_PORT,127.0.0.1:$CLUSTER_SENTINEL2_PORT,127.0.0.1:$CLUSTER_SENTINEL3_PORT" \
      REDIS_SENTINEL_MASTER identity \
      REDIS_SENTINEL_PASSWORD "$SENTINEL_PASSWORD"
    echo 'unset REDIS_HOST REDIS_PORT POSTGRES_PORT'
    # For tests: one server each, and where the pids are (NAME.pid).
    printf "export %s='%s'\n" CLUSTER_RUN "$stack/run"
    sed 's/^/export /' "$stack/ports"
  } >>"$stack/env"
)

known() { case " $servers " in *" $1 "*) ;; *) usage >&2; exit 2 ;; esac; }

case "${1:-} ${2:-}" in
  'up ') up ;;
  'down ') down ;;
  'clean ') down --purge ;;
  'env ')
    existing 1
    cat "$stack/env"
    ;;
  'status ') status ;;
  kill\ * | stop\ * | start\ *)
    known "$2"
    existing 1
    lock
    case $1 in
      kill) kill_server "$2" ;;
      *) "$1" "$2" ;;
    esac
    ;;
  'promote ')
    existing 1
    promote
    ;;
  rabbitmqctl\ [123])
    existing 1
    node=$2
    shift 2
    node_ctl "$node" "$@"
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac

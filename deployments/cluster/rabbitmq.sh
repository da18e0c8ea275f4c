# shellcheck shell=bash
# Three RabbitMQ nodes with one cookie. Nothing but their names and ports differs from the stack's.

for n in 1 2 3; do
  eval "rabbitmq${n}_ports() { echo CLUSTER_RABBITMQ${n}_PORT CLUSTER_RABBITMQ${n}_MANAGEMENT CLUSTER_RABBITMQ${n}_DIST; }
    rabbitmq${n}_stop_signal() { echo TERM; }
    rabbitmq${n}_ready() { node_ready $n; }
    rabbitmq${n}_start() { node_start $n; }"
done

node_ready() {
  local amqp=CLUSTER_RABBITMQ$1_PORT management=CLUSTER_RABBITMQ$1_MANAGEMENT
  curl -fsS -m 2 -o /dev/null -K - \
    "http://127.0.0.1:${!management}/api/health/checks/port-listener/${!amqp}" \
    2>/dev/null <<<"user = \"identity:$RABBITMQ_PASSWORD\""
}

# The first start of the nodes makes them a cluster: one has to be there for the others to join. Later ones wait for each
# other, so that all have to start at once.
form_rabbitmq() {
  if [ ! -d "$stack/rabbitmq1/mnesia" ]; then start rabbitmq1; fi
}

node_start() {
  local home=$stack/rabbitmq$1 amqp=CLUSTER_RABBITMQ$1_PORT management=CLUSTER_RABBITMQ$1_MANAGEMENT
  mkdir -p "$home"
  echo '[rabbitmq_management].' >"$home/enabled_plugins"
  cat "$root/deployments/rabbitmq.conf" - >"$home/rabbitmq.conf" <<EOT
listeners.tcp.1 = 127.0.0.1:${!amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = ${!management}
default_user = identity
default_pass = $RABBITMQ_PASSWORD
default_user_tags.administrator = true
cluster_name = identity
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = identity1@localhost
cluster_formation.classic_config.nodes.2 = identity2@localhost
cluster_formation.classic_config.nodes.3 = identity3@localhost
EOT
  await_ready epmd
  node_environment "$1"
  launch "rabbitmq$1" "${node_env[@]}" RUNNING_UNDER_SYSTEMD=true "$rabbitmq_bin/rabbitmq-server"
}

node_ctl() {
  local node=$1
  shift
  node_environment "$node"
  env "${node_env[@]}" "$rabbitmq_bin/rabbitmqctl" "$@"
}

# Sets node_env for node $1. Idle schedulers do not spin: three nodes share what one has in the stack.
node_environment() {
  local home=$stack/rabbitmq$1 dist=CLUSTER_RABBITMQ$1_DIST
  if [ ! -f "$home/.erlang.cookie" ]; then
    printf %s "$RABBITMQ_PASSWORD" >"$home/.erlang.cookie"
    chmod 400 "$home/.erlang.cookie"
  fi
  node_env=(
    HOME="$home"
    ERL_EPMD_ADDRESS=127.0.0.1
    ERL_EPMD_PORT="$STACK_EPMD_PORT"
    ERL_CRASH_DUMP="$stack/log/erl_crash.dump"
    RABBITMQ_NODENAME="identity$1@localhost"
    RABBITMQ_DIST_PORT="${!dist}"
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none'
    RABBITMQ_CONF_ENV_FILE="$home/no-such-file"
    RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf"
    RABBITMQ_ADVANCED_CONFIG_FILE="$home/no-such-file"
    RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins"
    RABBITMQ_GENERATED_CONFIG_DIR="$home/generated"
    RABBITMQ_MNESIA_BASE="$home/mnesia"
    RABBITMQ_LOG_BASE="$home/log"
    RABBITMQ_LOGS=-
  )
  fsync || node_env+=(LD_PRELOAD=libeatmydata.so)
}

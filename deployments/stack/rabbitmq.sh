# shellcheck shell=bash
# RabbitMQ with a node name, cookie, port mapper (epmd) and state of its own, so that it neither joins nor disturbs
# another node of the machine.

rabbitmq_bin=/usr/lib/rabbitmq/bin # Debian's wrappers in /usr/sbin insist on the rabbitmq user

rabbitmq_installed() {
  local dir
  [ -x "$rabbitmq_bin/rabbitmq-server" ] && command -v epmd >/dev/null || return 1
  for dir in "${rabbitmq_bin%/bin}"/lib/rabbitmq_server-*; do
    at_least 3.10 "${dir##*-}" && return
  done
  return 1
}

epmd_ports() { echo STACK_EPMD_PORT; }
epmd_stop_signal() { echo TERM; }
epmd_ready() { listening "$STACK_EPMD_PORT"; }
epmd_start() { launch epmd epmd -port "$STACK_EPMD_PORT" -address 127.0.0.1; }

rabbitmq_ports() { echo STACK_RABBITMQ_PORT STACK_RABBITMQ_MANAGEMENT_PORT STACK_RABBITMQ_DIST_PORT; }
rabbitmq_stop_signal() { echo TERM; }

rabbitmq_ready() {
  curl -fsS -m 2 -o /dev/null -K - \
    "http://127.0.0.1:$STACK_RABBITMQ_MANAGEMENT_PORT/api/health/checks/port-listener/$STACK_RABBITMQ_PORT" \
    2>/dev/null <<<"user = \"identity:$RABBITMQ_PASSWORD\""
}

# The folder of the broker's data and settings, one for each series.
rabbitmq_home() {
  case $series in
    3) echo "$stack/rabbitmq" ;;
    *) echo "$stack/rabbitmq-$series" ;;
  esac
}

rabbitmq_start() {
  local home
  home=$(rabbitmq_home)
  mkdir -p "$home"
  echo '[rabbitmq_management].' >"$home/enabled_plugins"
  # The default user exists from the first boot on; naming one leaves guest out.
  cat "$root/deployments/rabbitmq.conf" - >"$home/rabbitmq.conf" <<EOT
listeners.tcp.1 = 127.0.0.1:$STACK_RABBITMQ_PORT
management.tcp.ip = 127.0.0.1
management.tcp.port = $STACK_RABBITMQ_MANAGEMENT_PORT
default_user = identity
default_pass = $RABBITMQ_PASSWORD
default_user_tags.administrator = true
EOT
  await_ready epmd # or Erlang starts one of its own, which nobody would stop
  rabbitmq_environment
  # As under systemd the script execs Erlang, so that our pid is the server's.
  launch rabbitmq "${node_env[@]}" RUNNING_UNDER_SYSTEMD=true "${inside[@]}" "$rabbitmq_bin/rabbitmq-server"
}

rabbitmq_ctl() {
  rabbitmq_environment
  env "${node_env[@]}" "${inside[@]}" "$rabbitmq_bin/rabbitmqctl" "$@"
}

# Sets node_env, what the server and its tools must agree on, with nothing read from /etc or ~, and inside.
rabbitmq_environment() {
  local home
  home=$(rabbitmq_home)
  enter_series
  node_env=(
    HOME="$home"
    ERL_EPMD_ADDRESS=127.0.0.1
    ERL_EPMD_PORT="$STACK_EPMD_PORT"
    ERL_CRASH_DUMP="$stack/log/erl_crash.dump"
    RABBITMQ_NODENAME=identity@localhost
    RABBITMQ_DIST_PORT="$STACK_RABBITMQ_DIST_PORT"
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
    RABBITMQ_CONF_ENV_FILE="$home/no-such-file"
    RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf"
    RABBITMQ_ADVANCED_CONFIG_FILE="$home/no-such-file"
    RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins"
    RABBITMQ_GENERATED_CONFIG_DIR="$home/generated"
    RABBITMQ_MNESIA_BASE="$home/mnesia"
    RABBITMQ_LOG_BASE="$home/log"
    RABBITMQ_LOGS=-
  )
  [ "$series" = 4 ] || fsync || node_env+=(LD_PRELOAD=libeatmydata.so) # the folder of series 4 does not have it
}

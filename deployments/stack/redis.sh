# shellcheck shell=bash
# Redis 7: noeviction, append-only file, a password.

redis_installed() {
  command -v redis-server >/dev/null && command -v redis-cli >/dev/null || return 1
  at_least 7.0 "$(redis-server --version 2>/dev/null | sed -n 's/.*v=\([0-9.]*\).*/\1/p')"
}

redis_ports() { echo STACK_REDIS_PORT; }
redis_stop_signal() { echo TERM; }

redis_ready() {
  [ "$(REDISCLI_AUTH=$REDIS_PASSWORD timeout 2 redis-cli -h 127.0.0.1 -p "$STACK_REDIS_PORT" ping 2>/dev/null)" = PONG ]
}

redis_start() {
  local home=$stack/redis
  mkdir -p "$home"
  cat "$root/deployments/redis.conf" - >"$home/redis.conf" <<EOT
bind 127.0.0.1
port $STACK_REDIS_PORT
dir "$home"
requirepass $REDIS_PASSWORD
EOT
  launch redis redis-server "$home/redis.conf"
}

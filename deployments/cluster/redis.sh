# shellcheck shell=bash
# Redis, a replica of it, and three Sentinels of which two decide. Sentinel and a failover write into the configuration of
# each: it is made once.

for n in 1 2; do
  eval "redis${n}_ports() { echo CLUSTER_REDIS${n}_PORT; }
    redis${n}_stop_signal() { echo TERM; }
    redis${n}_ready() { redis_answers CLUSTER_REDIS${n}_PORT; }
    redis${n}_start() { redis_node_start $n; }"
done
for n in 1 2 3; do
  eval "sentinel${n}_ports() { echo CLUSTER_SENTINEL${n}_PORT; }
    sentinel${n}_stop_signal() { echo TERM; }
    sentinel${n}_ready() { REDIS_PASSWORD=\$SENTINEL_PASSWORD redis_answers CLUSTER_SENTINEL${n}_PORT; }
    sentinel${n}_start() { sentinel_start $n; }"
done

redis_answers() {
  [ "$(REDISCLI_AUTH=$REDIS_PASSWORD timeout 2 redis-cli -h 127.0.0.1 -p "${!1}" ping 2>/dev/null)" = PONG ]
}

redis_node_start() {
  local home=$stack/redis$1 port=CLUSTER_REDIS$1_PORT
  if [ ! -f "$home/redis.conf" ]; then
    mkdir -p "$home"
    cat "$root/deployments/redis.conf" - >"$home/redis.conf" <<EOT
bind 127.0.0.1
port ${!port}
dir "$home"
requirepass $REDIS_PASSWORD
masterauth $REDIS_PASSWORD
repl-diskless-sync-delay 0
EOT
    [ "$1" = 1 ] || echo "replicaof 127.0.0.1 $CLUSTER_REDIS1_PORT" >>"$home/redis.conf"
  fi
  launch "redis$1" redis-server "$home/redis.conf"
}

sentinel_start() {
  local home=$stack/sentinel$1 port=CLUSTER_SENTINEL$1_PORT
  if [ ! -f "$home/sentinel.conf" ]; then
    mkdir -p "$home"
    cat >"$home/sentinel.conf" <<EOT
bind 127.0.0.1
port ${!port}
dir "$home"
requirepass $SENTINEL_PASSWORD
sentinel monitor identity 127.0.0.1 $CLUSTER_REDIS1_PORT 2
sentinel auth-pass identity $REDIS_PASSWORD
sentinel down-after-milliseconds identity 2000
sentinel failover-timeout identity 10000
EOT
  fi
  launch "sentinel$1" redis-server "$home/sentinel.conf" --sentinel
}

# Waits until the Sentinels know each other and the replica: before that none of them can fail over.
await_redis() {
  local deadline=$((SECONDS + ready_seconds)) n port state
  for n in 1 2 3; do
    port=CLUSTER_SENTINEL${n}_PORT
    until state=$(REDISCLI_AUTH=$SENTINEL_PASSWORD redis-cli -h 127.0.0.1 -p "${!port}" info sentinel 2>/dev/null) &&
      [[ $state == *status=ok*slaves=1,sentinels=3* ]]; do
      ((SECONDS < deadline)) || die "sentinel$n does not see one replica and two other Sentinels: $state"
      sleep 0.2
    done
  done
}

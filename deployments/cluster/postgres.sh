# shellcheck shell=bash
# PostgreSQL and a streaming standby. While there is a standby a commit waits for it, so that promoting it loses nothing.
# See stack/postgres.sh for why each data folder is handed over as a descriptor.

for n in 1 2; do
  eval "postgres${n}_ports() { echo CLUSTER_POSTGRES${n}_PORT; }
    postgres${n}_stop_signal() { echo INT; }
    postgres${n}_ready() { pg_ready $n; }
    postgres${n}_start() { pg_start $n; }"
done

pg_ready() {
  local port=CLUSTER_POSTGRES$1_PORT
  timeout 2 "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "${!port}" -t 1 || return
  [ ! -f "$stack/postgres$1/standby.signal" ] || pg_attach "$1"
}

# Runs SQL $2 on node $1 as the superuser, who gets in from the loopback with the password.
pg_sql() {
  local port=CLUSTER_POSTGRES$1_PORT
  PGPASSWORD=$POSTGRES_PASSWORD PGCONNECT_TIMEOUT=2 \
    timeout 5 "$(postgres_bin)/psql" -XAtq -h 127.0.0.1 -p "${!port}" -U postgres -c "$2" postgres
}

# From when standby $1 streams on, its primary's commits wait for it.
pg_attach() {
  local primary=$((3 - $1))
  [ "$(pg_sql "$primary" "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'" 2>/dev/null)" = 1 ] || return
  [ -n "$(pg_sql "$primary" 'SHOW synchronous_standby_names')" ] || {
    pg_sql "$primary" "ALTER SYSTEM SET synchronous_standby_names = '*'"
    pg_sql "$primary" 'SELECT pg_reload_conf()' >/dev/null
  }
}

pg_start() {
  local bin as=() data=$stack/postgres$1 other=$((3 - $1)) port=CLUSTER_POSTGRES$1_PORT
  bin=$(postgres_bin)
  if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=postgres --regid=postgres --init-groups); fi
  pg_clear "$data"
  if [ ! -d "$data" ] && { [ "$1" = 2 ] || [ -d "$stack/postgres$other" ]; }; then
    alive "postgres$other" || "postgres${other}_start"
    await_ready "postgres$other"
  fi
  if alive "postgres$other" && [ ! -f "$stack/postgres$other/standby.signal" ] && [ ! -f "$data/standby.signal" ]; then
    pg_copy "$1" "$other"
  elif [ ! -d "$data" ]; then
    pg_create "$data"
  fi
  exec 8<"$data"
  launch "postgres$1" "${as[@]}" "$bin/postgres" -D /proc/self/fd/8 \
    -c port="${!port}" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 \
    -c fsync="${STACK_FSYNC:-on}" -c wal_level=replica -c hot_standby=on -c wal_keep_size=256MB \
    -c timezone=UTC -c log_timezone=UTC
  exec 8<&-
}

# Makes the folder of the first primary.
pg_create() {
  local new=$1.new
  rm -rf "$new"
  mkdir -m 700 "$new"
  [ "${#as[@]}" = 0 ] || chown postgres: "$new"
  (
    exec 8<"$new"
    cd /
    "${as[@]}" env -i PATH="$PATH" "$bin/initdb" -D /proc/self/fd/8 -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync &&
      "${as[@]}" env -i PATH="$PATH" "$bin/postgres" --single -D /proc/self/fd/8 postgres <<EOT
ALTER ROLE postgres PASSWORD '$POSTGRES_PASSWORD';
CREATE ROLE identity LOGIN CREATEDB PASSWORD '$POSTGRES_PASSWORD';
GRANT pg_signal_backend TO identity;
CREATE DATABASE identity OWNER identity;
EOT
  ) >>"$stack/log/postgres1.log" 2>&1 || failed postgres1 "could not create its data folder"
  printf '%s\n' 'host all all 127.0.0.1/32 scram-sha-256' \
    'host replication postgres 127.0.0.1/32 scram-sha-256' >"$new/pg_hba.conf"
  mv "$new" "$1"
}

# Makes the folder of standby $1 from primary $2, which goes on alone until the standby streams.
pg_copy() {
  local data=$stack/postgres$1 port=CLUSTER_POSTGRES$2_PORT
  pg_sql "$2" 'ALTER SYSTEM RESET synchronous_standby_names'
  pg_sql "$2" 'SELECT pg_reload_conf()' >/dev/null
  rm -rf "$data"
  mkdir -m 700 "$data"
  [ "${#as[@]}" = 0 ] || chown postgres: "$data"
  (
    exec 8<"$data"
    cd /
    "${as[@]}" env -i PATH="$PATH" "$bin/pg_basebackup" -D /proc/self/fd/8 -R -X stream -c fast --no-sync \
      -d "host=127.0.0.1 port=${!port} user=postgres password=$POSTGRES_PASSWORD"
  ) >>"$stack/log/postgres$1.log" 2>&1 || failed "postgres$1" "could not be copied from postgres$2"
}

# Promotes the standby that runs. The data of a primary that does not run are of no further use.
promote() {
  local n
  for n in 1 2; do
    if alive "postgres$n" && [ -f "$stack/postgres$n/standby.signal" ]; then
      (
        as=()
        if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=postgres --regid=postgres --init-groups); fi
        exec 8<"$stack/postgres$n"
        cd /
        "${as[@]}" env -i PATH="$PATH" "$(postgres_bin)/pg_ctl" promote -s -w -D /proc/self/fd/8
      )
      alive "postgres$((3 - n))" || rm -rf "$stack/postgres$((3 - n))"
      say "postgres$n is the primary"
      return
    fi
  done
  die "there is no standby"
}

# As postgres_clear of the stack, for folder $1.
pg_clear() {
  local process cwd lock=$1/postmaster.pid
  while read -r process cwd; do
    [ "$cwd" != "$1" ] || end_orphan "${process#/proc/}"
  done < <(find /proc/[0-9]*/cwd -maxdepth 0 -printf '%h %l\n' 2>/dev/null)
  [ ! -f "$lock" ] || [ ! -e "/proc/$(head -n 1 "$lock")" ] || rm -f "$lock"
}

# shellcheck shell=bash
# PostgreSQL 15 or newer on TCP only: role and database "identity", scram, fsync on unless STACK_FSYNC=off.
#
# It refuses to run as root, and the user we then run it as may not be able to walk down to this folder (a clone in a
# directory of mode 0700). So it never walks: the data folder is opened here and handed over as a descriptor.

# Prints the folder of the server programs: the newest, or the release that made the data.
postgres_bin() {
  local wanted=15 bin found=''
  if [ -f "$stack/postgres/PG_VERSION" ]; then wanted=$(<"$stack/postgres/PG_VERSION"); fi
  while read -r bin; do
    [ -x "$bin/postgres" ] && [ -x "$bin/pg_isready" ] || continue
    at_least "$wanted" "$("$bin/postgres" --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/')" || continue
    found=$bin
    [ ! -f "$stack/postgres/PG_VERSION" ] || break
  done < <(
    printf '%s\n' /usr/lib/postgresql/*/bin | sort -V
    dirname "$(command -v postgres || echo /none/postgres)"
  )
  [ -n "$found" ] && printf '%s\n' "$found"
}

postgres_installed() { postgres_bin >/dev/null; }
postgres_ports() { echo STACK_POSTGRES_PORT; }
postgres_stop_signal() { echo INT; } # "fast": does not wait for clients to leave

postgres_ready() {
  timeout 2 "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "$STACK_POSTGRES_PORT" -t 1
}

postgres_start() {
  local bin as=()
  bin=$(postgres_bin)
  if [ "$(id -u)" = 0 ]; then
    id postgres >/dev/null 2>&1 || die "PostgreSQL refuses to run as root and there is no user 'postgres': add one (useradd -r postgres) or run this as another user"
    as=(setpriv --reuid=postgres --regid=postgres --init-groups)
  fi
  [ -d "$stack/postgres" ] || postgres_create
  postgres_clear
  exec 8<"$stack/postgres"
  launch postgres "${as[@]}" "$bin/postgres" -D /proc/self/fd/8 \
    -c port="$STACK_POSTGRES_PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c max_connections=200 -c fsync="${STACK_FSYNC:-on}" -c timezone=UTC -c log_timezone=UTC
  exec 8<&-
}

# Makes the cluster in a folder beside and renames it, so that an interrupted attempt is not taken for data.
postgres_create() {
  local new=$stack/postgres.new log=$stack/log/postgres.log
  rm -rf "$new"
  mkdir -m 700 "$new"
  [ "${#as[@]}" = 0 ] || chown postgres: "$new"
  (
    exec 8<"$new"
    cd /
    "${as[@]}" env -i PATH="$PATH" "$bin/initdb" -D /proc/self/fd/8 -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync &&
      "${as[@]}" env -i PATH="$PATH" "$bin/postgres" --single -D /proc/self/fd/8 postgres <<EOT
CREATE ROLE identity LOGIN CREATEDB PASSWORD '$POSTGRES_PASSWORD';
GRANT pg_signal_backend TO identity;
CREATE DATABASE identity OWNER identity;
EOT
  ) >>"$log" 2>&1 || failed postgres "could not create its data folder"
  echo 'host all identity 127.0.0.1/32 scram-sha-256' >"$new/pg_hba.conf"
  mv "$new" "$stack/postgres"
}

# After kill -9 of the server its children may live on for a moment, and a new server refuses to start beside them;
# it also refuses when the dead one's pid now belongs to some other process.
postgres_clear() {
  local process cwd lock=$stack/postgres/postmaster.pid
  while read -r process cwd; do
    [ "$cwd" != "$stack/postgres" ] || end_orphan "${process#/proc/}"
  done < <(find /proc/[0-9]*/cwd -maxdepth 0 -printf '%h %l\n' 2>/dev/null)
  [ ! -f "$lock" ] || [ ! -e "/proc/$(head -n 1 "$lock")" ] || rm -f "$lock"
}

end_orphan() {
  [ "$(cat "/proc/$1/comm" 2>/dev/null)" = postgres ] || return 0
  kill -KILL "$1" 2>/dev/null || true
  while [[ $(process_stat "$1") =~ ^[^Z] ]]; do sleep 0.02; done
}

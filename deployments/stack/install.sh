# shellcheck shell=bash
# Which servers the machine lacks, and how they get there.

# at_least WANTED VERSION
at_least() { [ -n "$2" ] && printf '%s\n%s\n' "$1" "$2" | sort -CV; }

# Prints the Debian packages whose programs are absent or too old.
missing_packages() {
  rabbitmq_installed || echo rabbitmq-server
  redis_installed || echo redis-server
  postgres_installed || echo postgresql
  pgbouncer_installed || echo pgbouncer
  nginx_installed || echo nginx-light
  command -v curl >/dev/null || echo curl
  fsync || eatmydata_installed || echo libeatmydata1
}

# The tests start a pooler of their own before PostgreSQL; Debian keeps it where not every PATH looks.
pgbouncer_installed() { [ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null; }

# The tests start it before two apis.
nginx_installed() { [ -x /usr/sbin/nginx ] || command -v nginx >/dev/null; }

# It keeps RabbitMQ, which has no setting for that, from waiting for the disk.
eatmydata_installed() { compgen -G '/usr/lib/*/libeatmydata.so' >/dev/null; }

# A browser that the end-to-end tests drive. They look for it under these names, too.
browser_installed() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null; then return; fi
  done
  return 1
}

on_linux() { [ "$(uname -s)" = Linux ]; }

may_install() {
  on_linux && command -v apt-get >/dev/null && [ -e /etc/debian_version ] &&
    { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

# Installs packages $@ without letting them start services of their own on the standard ports: policy-rc.d is how
# Debian asks whether they may. An existing one is the machine's own decision and is left alone. A mirror that fails is asked
# again, and the machine's own upgrades may hold their locks for a while.
install_packages() (
  umask 022
  sudo=() policy=/usr/sbin/policy-rc.d
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  if [ ! -e "$policy" ]; then
    trap '"${sudo[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
    "${sudo[@]}" chmod 755 "$policy"
  fi
  for try in {1..10}; do
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 update -q && break || sleep "$try"
  done
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 \
    install -qy --no-install-recommends "$@"
) </dev/null >>"$stack/log/install.log" 2>&1

# Settles how the servers run, "native" or "docker", and remembers it: the data of one is not the data of the other.
choose_mode() {
  local missing
  mode=$(cat "$stack/mode" 2>/dev/null || true)
  if [ "$mode" != docker ]; then
    missing='rabbitmq-server redis-server postgresql'
    if on_linux; then missing=$(missing_packages | xargs); fi
    if [ -n "$missing" ] && may_install; then
      say "installing $missing (log: .stack/log/install.log)"
      # shellcheck disable=SC2086 # a list
      install_packages $missing || say "apt-get failed: $(tail -n 1 "$stack/log/install.log")"
      missing=$(missing_packages | xargs)
    fi
    if [ -z "$missing" ]; then
      mode=native
    elif [ "$mode" != native ] && docker_usable; then
      mode=docker
    else
      explain_missing "$missing"
    fi
  fi
  printf '%s\n' "$mode" >"$stack/mode"
}

explain_missing() {
  cat >&2 <<EOT
stack: cannot start, these are missing or too old: $1
  needed: RabbitMQ 3.10, Redis 7.0, PostgreSQL 15, PgBouncer 1.18 (or newer), nginx, curl
  Do one of these, then run the same command again:
  - Debian 12, Ubuntu 24.04 or newer: sudo apt-get install $1
    (as root or with passwordless sudo this script does it by itself)
  - start a Docker engine that has the compose plugin ('docker info' and 'docker compose version' must answer)
EOT
  exit 1
}

# Installs a tool of some checks where it is absent: need_tool NAME PACKAGE "WHAT NEEDS IT". The servers do without, and
# these are large: who needs one asks for it, make stack-up does not.
need_tool() {
  if "$1_installed"; then return; fi
  if may_install; then
    say "installing $2 (log: .stack/log/install.log)"
    install_packages "$2" || say "apt-get failed: $(tail -n 1 "$stack/log/install.log")"
  fi
  "$1_installed" || die "$3 on the PATH: install it (Debian: sudo apt-get install $2)"
}

promtool_installed() { command -v promtool >/dev/null; }
debootstrap_installed() { [ -x /usr/sbin/debootstrap ] || command -v debootstrap >/dev/null; }

need_browser() { need_tool browser chromium "the end-to-end tests need Chromium or Chrome"; }
# axe-core looks at the pages as people who cannot see them do. It stays in .stack. Without npm that check is left out,
# and the test says so.
axe_version=4.14.1
need_axe() {
  [ -f "$stack/axe/axe.min.js" ] && return
  command -v npm >/dev/null || { say "npm is not here: axe-core does not look at the pages" && return; }
  mkdir -p "$stack/axe"
  (cd "$stack/axe" && npm pack --silent "axe-core@$axe_version" >/dev/null &&
    tar xzf "axe-core-$axe_version.tgz" --strip-components=1 package/axe.min.js && rm "axe-core-$axe_version.tgz") ||
    say "npm could not bring axe-core: it does not look at the pages"
}
need_promtool() { need_tool promtool prometheus "the checks of the alerts need promtool"; }
need_debootstrap() { need_tool debootstrap debootstrap "RABBITMQ_SERIES=4 needs debootstrap"; }

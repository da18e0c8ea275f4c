# shellcheck shell=bash
# RabbitMQ 4 in the place of the machine's own: the package of Debian's next release, installed into a folder below .stack
# and run from there. What that needs mounted is in a mount namespace of the server alone, and ends with it.

next_release=trixie # Debian 13
series=3

# Settles which RabbitMQ runs: RABBITMQ_SERIES, else the one that runs already, else 3 (the machine's own, 3.10 or newer).
# The data of one are not the data of the other.
choose_series() {
  local before
  before=$(cat "$stack/series" 2>/dev/null || echo 3)
  series=${RABBITMQ_SERIES:-$before}
  case $series in
    3 | 4) ;;
    *) die "RABBITMQ_SERIES is $series: set it to 3 or 4, or leave it unset" ;;
  esac
  if [ "$series" != "$before" ] && alive rabbitmq; then
    die "RabbitMQ $before is running: 'deployments/stack.sh down' first, then 'RABBITMQ_SERIES=$series make stack-up'"
  fi
  if [ "$series" = 4 ]; then install_next; fi
  printf '%s\n' "$series" >"$stack/series"
}

# Installs the package once; `clean` removes it.
install_next() {
  local new=$stack/$next_release.new log=$stack/log/$next_release.log
  [ "$(id -u)" = 0 ] || die "RABBITMQ_SERIES=4 needs root: it runs from a folder with Debian's next release (chroot)"
  if [ -d "$stack/$next_release" ]; then return; fi
  need_debootstrap
  say "installing RabbitMQ 4 from Debian $next_release below .stack, some 330 MB (log: .stack/log/$next_release.log)"
  rm -rf --one-file-system "$new"
  (
    umask 022
    unshare --mount /bin/sh -ec '
      PATH=$PATH:/usr/sbin:/sbin
      tries=3
      until debootstrap --variant=minbase "$1" "$0" http://deb.debian.org/debian; do
        [ "$((tries -= 1))" -gt 0 ]
        rm -rf --one-file-system "$0"
        sleep 10
      done
      mount --bind /proc "$0/proc" && mount --bind /dev "$0/dev"
      printf "#!/bin/sh\nexit 101\n" >"$0/usr/sbin/policy-rc.d" # no service starts
      chmod 755 "$0/usr/sbin/policy-rc.d"
      chroot "$0" env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 install -qy --no-install-recommends rabbitmq-server
      chroot "$0" apt-get clean' "$new" "$next_release"
  ) </dev/null >"$log" 2>&1 || die "that failed: $(tail -n 1 "$log")"
  mv "$new" "$stack/$next_release"
}

# Sets inside: what goes before a command of the broker. In series 4 that sees .stack where it is, and of the machine
# nothing else.
enter_series() {
  inside=()
  if [ "$series" = 4 ]; then
    mkdir -p "$stack/$next_release$stack"
    # shellcheck disable=SC2016 # the inner shell's variables
    inside=(unshare --mount /bin/sh -ec '
      mount --bind /proc "$0/proc"
      mount --bind /dev "$0/dev"
      mount --bind "$1" "$0$1"
      shift
      exec chroot "$0" "$@"' "$stack/$next_release" "$stack")
  fi
}

# Unmounts what an interrupted installation may have left, before anything is removed: nothing is, unless that succeeds.
unmount_all() {
  local device point rest
  # shellcheck disable=SC2034 # the other fields
  while read -r device point rest; do
    point=$(printf '%b' "$point") # spaces are written as \040
    case $point in "$stack"/*) umount "$point" ;; esac
  done < <(tac /proc/self/mounts)
}

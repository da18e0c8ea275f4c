# shellcheck shell=bash
# Processes that outlive this script: started detached, known by pid AND birth, stopped politely, then firmly.

# Prints "STATE START" of process $1 (proc(5), fields 3 and 22 of stat), nothing when there is none.
process_stat() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  read -ra fields <<<"${stat##*) }"
  printf '%s %s\n' "${fields[0]}" "${fields[19]}"
}

# Is server $1 running, started by this very stack? Sets pid and state. The pid alone would not do: pids are used
# again; and a copied folder brings along the pid files of the original, hence the path.
alive() {
  local stat start
  pid='' state=''
  [ -f "$stack/run/$1.pid" ] && [ -f "$stack/run/$1.id" ] || return 1
  pid=$(<"$stack/run/$1.pid")
  stat=$(process_stat "$pid")
  state=${stat% *} start=${stat#* }
  [ -n "$stat" ] && [ "$state" != Z ] && [ "$start $stack" = "$(<"$stack/run/$1.id")" ]
}

# launch NAME COMMAND… – the command runs in a session of its own with a clean environment, without the caller's
# terminal, pipes and locks. Its pid is the server's own as long as COMMAND only ever execs.
launch() {
  local name=$1
  shift
  (
    cd /
    close_descriptors
    ulimit -n 65536 2>/dev/null || true # a broker wants more than 1024; "unlimited" makes Erlang reserve for it
    exec setsid env -i PATH="$PATH" LANG=C.UTF-8 TZ=UTC "$@"
  ) </dev/null >>"$stack/log/$name.log" 2>&1 &
  printf '%s\n' "$!" >"$stack/run/$name.pid"
  printf '%s %s\n' "$(process_stat "$!" | cut -d' ' -f2)" "$stack" >"$stack/run/$name.id"
}

# Closes all but stdin, stdout, stderr and 8, by which postgres.sh passes its data folder.
close_descriptors() {
  local fd
  for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    ((fd <= 2 || fd == 8)) || eval "exec $fd>&-"
  done
}

# Is somebody listening on 127.0.0.1:$1?
listening() {
  timeout 1 bash -c ": </dev/tcp/127.0.0.1/$1" 2>/dev/null
}

# Dies when a port of server $1, which does not run, is in use.
need_free_ports() {
  local name
  for name in $("$1_ports"); do
    # A server that has just been killed may hold its port for a moment longer.
    for _ in {1..20}; do
      listening "${!name}" || continue 2
      sleep 0.1
    done
    die "port ${!name} is taken by another program: set $name to a free port, or STACK_PORT_OFFSET (10, 20, …) to move all"
  done
}

ready_seconds=120

# Waits until server $1 answers; a server that dies or stays mute is shown with the end of its log.
await_ready() {
  local deadline=$((SECONDS + ready_seconds))
  until "$1_ready"; do
    alive "$1" || failed "$1" "died while starting"
    ((SECONDS < deadline)) || failed "$1" "does not answer after $ready_seconds s ('deployments/stack.sh restart $1' replaces it)"
    sleep 0.1
  done
  alive "$1" || failed "$1" "died while starting"
}

failed() {
  printf 'stack: %s %s. The end of %s:\n' "$1" "$2" "$stack/log/$1.log" >&2
  tail -n 25 "$stack/log/$1.log" | sed 's/^/  | /' >&2
  exit 1
}

# Starts those of servers $@ that do not run and waits for all; one that was stopped with SIGSTOP goes on. Ports are
# looked at first, so that a collision starts nothing.
start() {
  local name
  for name in "$@"; do alive "$name" || need_free_ports "$name"; done
  for name in "$@"; do
    if ! alive "$name"; then
      "${name}_start"
    elif [ "$state" = T ]; then
      kill -CONT "$pid"
    fi
  done
  for name in "$@"; do await_ready "$name"; done
}

# Asks all servers $@ to stop, then waits for each; who has not gone after 30 s is killed.
stop() {
  local name pid state deadline=$((SECONDS + 30))
  for name in "$@"; do
    ! alive "$name" || { kill -s "$("$name"_stop_signal)" "$pid" && kill -CONT "$pid"; } 2>/dev/null || true
  done
  for name in "$@"; do
    while alive "$name"; do
      ((SECONDS < deadline)) || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.05
    done
    rm -f "$stack/run/$name.pid" "$stack/run/$name.id"
  done
}

# shellcheck shell=bash
# What the walks share. A walk is a story that can be repeated: it says what the reader does, runs the commands of the
# pages as they stand there, and stops at the first that does not do what the page says. Everything it prints is its
# transcript.
set -eE

out=$work/out logs=$work/log
mkdir -p "$logs"
: >"$out"

# say TEXT… – a line of the story.
say() { printf '\n# %s\n' "$*"; }

# shown TEXT – a command as it is typed.
shown() { sed -e '1s/^/$ /' -e '2,$s/^/> /' <<<"$1"; }

# run COMMAND – shows the command, runs it in this shell, and shows what it prints. The walk ends unless it succeeds.
run() {
  shown "$1"
  eval "$1" >"$out" 2>&1
  cat "$out"
}

# fails COMMAND – as run, but the command must fail.
fails() {
  shown "$1"
  if (eval "$1") >"$out" 2>&1; then stumble "this should have failed: $1"; fi
  cat "$out"
}

# block PAGE NAME – runs the block of a page that follows <!-- run: NAME -->, after the sed program in $replace.
block() {
  local text
  text=$(page "$1" "$2" | sed -E "${replace:-}")
  [ -n "$text" ] || stumble "$1 has no block named $2"
  run "$text"
}

# page PAGE NAME – prints that block.
page() { awk -v name="<!-- run: $2 -->" '
  inside && /^ *```$/ { exit }
  inside { print }
  found && /^ *```/ { inside = 1 }
  { line = $0; sub(/^ +/, "", line) }
  line == name { found = 1 }' "$1" | sed 's/^   //'; }

# program PAGE FILE TARGET – saves the program that a page shows below the line "`FILE`:" (or "And `FILE`:") as TARGET.
program() {
  shown "cat >$3   # from $1"
  awk -v name="\`$2\`:" '
    inside && /^```$/ { exit }
    inside { print }
    found && /^```/ { inside = 1 }
    length($0) >= length(name) && substr($0, length($0) - length(name) + 1) == name { found = 1 }' "$1" >"$3"
  [ -s "$3" ] || stumble "$1 shows no $2"
}

# sees PATTERN – what was printed last must have it.
sees() { grep -qE -- "$1" "$out" || stumble "the last output does not have: $1"; }

# sees_not PATTERN
sees_not() { ! grep -qE -- "$1" "$out" || stumble "the last output has: $1"; }

# await PATTERN COMMAND – repeats a command until its output has the pattern, ninety seconds at most, and shows the last time.
await() {
  local deadline=$((SECONDS + 90))
  shown "$2"
  until (eval "$2") >"$out" 2>&1; grep -qE -- "$1" "$out"; do
    ((SECONDS < deadline)) || stumble "after 90 seconds there is still no: $1"
    sleep 0.3
  done
  cat "$out"
}

stumble() {
  printf '\nSTUMBLE: %s\n' "$1"
  cat "$out"
  return 1
}

# start NAME COMMAND – runs a program in another terminal.
declare -A pids=()
start() {
  shown "$2    # in another terminal"
  (eval "exec $2") </dev/null >"$logs/$1" 2>&1 &
  pids[$1]=$!
}

# stop NAME [SIGNAL] – ends it and waits.
stop() {
  kill -s "${2:-TERM}" "${pids[$1]}"
  wait "${pids[$1]}" 2>/dev/null || true
  unset "pids[$1]"
}

# tails NAME [LINES] – shows the end of what a program has printed.
tails() { run "tail -n ${2:-5} $logs/$1"; }

# person ADDRESS – registers one with the api of $APP_PORT and proves the address, in the jar $jar; the id is $user then.
person() {
  local code='' api=http://127.0.0.1:$APP_PORT json='Content-Type: application/json'
  jar=$(mktemp -p "$work")
  curl -s -o "$out" -c "$jar" "$api/authentication/register" -H "$json" -d "{\"email\":\"$1\",\"password\":\"correct horse\"}"
  until [ "$code" ]; do
    code=$(curl -s "$INBOX_URL/api/messages?to=$1" | grep -oE '\b[0-9]{6}\b' | head -n 1)
  done
  curl -s -o "$out" -b "$jar" -c "$jar" "$api/authentication/verify-otp" -H "$json" -d "{\"email\":\"$1\",\"otp\":\"$code\"}"
  user=$(curl -s -b "$jar" "$api/authentication/me" | grep -oE '[0-9a-f-]{36}' | head -n 1)
  printf '# %s has registered and proven the address\n' "$1"
}

finish() {
  local status=$? name
  trap - EXIT ERR
  if [ "$status" -ne 0 ]; then
    cat "$out"
    for name in "${!pids[@]}"; do
      printf '\n-- %s\n' "$name"
      tail -n 15 "$logs/$name"
    done
  fi
  for name in "${!pids[@]}"; do kill "${pids[$name]}" 2>/dev/null || true; done
  wait
  exit "$status"
}
trap finish EXIT

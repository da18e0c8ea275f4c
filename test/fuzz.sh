#!/usr/bin/env bash
# Runs every fuzz target of the module in turn, for FUZZ_TIME in all: seconds as in 90s, or minutes as in 5m. An input that
# fails is printed, and is a test case from then on: it lies in testdata/fuzz of its package, to be committed with the fix.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${FUZZ_TIME:=5m} in
  *m) total=$((${FUZZ_TIME%m} * 60)) ;;
  *s) total=${FUZZ_TIME%s} ;;
  *) echo "FUZZ_TIME is $FUZZ_TIME: set it to seconds as in 90s, or minutes as in 5m" >&2; exit 1 ;;
esac

# The folders are searched first, because -list has to build the tests of every package it is given.
folders=$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u)
# shellcheck disable=SC2086 # several
listed=$(go test -list '^Fuzz' $folders) || { printf '%s\n' "$listed" >&2; exit 1; }
targets=$(awk '/^Fuzz/ {names[++n] = $1} /^ok/ {for (i = 1; i <= n; i++) print $2, names[i]; n = 0}' <<<"$listed")
count=$(grep -c . <<<"$targets") || { echo "There is no fuzz target" >&2; exit 1; }
each=$((total / count))
[ "$each" -gt 0 ] || each=1
echo "$count targets, $each s each"

# fuzz runs the target $2 of the package $1. It prints a line, or after a failure everything, the input included.
fuzz() {
  local output input
  if output=$(go test -run '^$' -fuzz "^$2\$" -fuzztime "${each}s" -fuzzminimizetime 5s -parallel 2 "$1" 2>&1); then
    printf '%-20s %s\n' "$2" "$(grep -o 'execs: [0-9]*' <<<"$output" | tail -n 1)"
    return
  fi
  input=$(sed -n 's/^ *Failing input written to //p' <<<"$output")
  # golang/go#75804: until Go 1.27 the end of -fuzztime now and then counts as a failure, without an input.
  if [ -z "$input" ] && [ "$(grep -A 1 '^--- FAIL' <<<"$output" | tail -n 1)" = "    context deadline exceeded" ]; then
    printf '%-20s ended late\n' "$2"
    return
  fi
  printf '%s\n' "$output"
  [ -z "$input" ] || { printf '\n-- %s/%s\n' "$1" "$input"; cat "$(go list -f '{{.Dir}}' "$1")/$input"; }
  return 1
}

failed=0
while read -r package target; do
  fuzz "$package" "$target" </dev/null || failed=1
done <<<"$targets"
exit "$failed"

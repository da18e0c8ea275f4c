#!/usr/bin/env bash
# Walks the ways of the pages from a clean copy of this repository, with servers of its own: newcomer, integrator, operator,
# deployer, or those that are named. What a walk prints goes to transcripts/NAME.txt as well, without what differs every time.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=${here%/test/walks}
work=$(mktemp -d "${TMPDIR:-/tmp}/identity-walks.XXXXXX")
export work root
unset MAKEFLAGS MAKELEVEL # or make would say which folder it enters
# Ports: those of the pages, moved, so that a stack and a standalone of this clone may run meanwhile.
export STACK_PORT_OFFSET=${WALKS_PORT_OFFSET:-250}

finish() {
  local status=$?
  if [ -d "$work/identity/.stack" ]; then "$work/identity/deployments/stack.sh" clean >/dev/null || true; fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT

# What makes two transcripts of the same walk differ: ids, times, codes, tokens, keys, ports and folders.
mask() {
  sed -E -u \
    -e 's/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/ID/g' \
    -e 's/eyJ[A-Za-z0-9_.-]{20,}/TOKEN/g' \
    -e 's/[0-9]{4}[-\/][0-9]{2}[-\/][0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?(Z|\+00(:00)?)?/TIME/g' \
    -e 's/\b[0-9]{6}\b/CODE/g' \
    -e 's/(127\.0\.0\.1|localhost):[0-9]+/\1:PORT/g' \
    -e 's/\b(pid|port) [0-9]+/\1 N/g' \
    -e "s|$work|WORK|g" \
    -e 's/\b[0-9]+(\.[0-9]+)? ?(ms|µs|s)\b/TIME/g' \
    -e 's/[0-9]{2}:[0-9]{2} UTC on [0-9]+ [A-Z][a-z]+ [0-9]{4}/TIME/g' \
    -e 's/("registration":")[^"]+/\1VALUE/g' \
    -e 's/\b00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\b/TRACE/g' \
    -e 's/("(trace|span)_id":")[^"]+/\1ID/g' \
    -e 's/^retry: [0-9]+/retry: N/' \
    -e 's/\x1b\[[0-9;]*m//g'
}

mkdir "$work/identity"
cd "$root"
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done |
  xargs -0 cp --parents -t "$work/identity"
cd "$work/identity"

[ $# -gt 0 ] || set -- newcomer integrator operator deployer
for walk in "$@"; do
  if [ "$walk" != newcomer ] && [ ! -d .stack ]; then
    began=$SECONDS
    make -s stack-up build
    printf '==> stack and binaries: %d s\n' $((SECONDS - began))
  fi
  printf '\n==> %s\n' "$walk"
  began=$SECONDS
  bash "test/walks/$walk.sh" 2>&1 | mask | tee "$work/transcript"
  cp "$work/transcript" "$here/transcripts/$walk.txt"
  printf '==> %s: %d s\n' "$walk" $((SECONDS - began))
done

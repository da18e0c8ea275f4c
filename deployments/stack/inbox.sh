# shellcheck shell=bash
# The inbox: our own SMTP server that keeps every mail and shows it (cmd/inbox).

inbox_ports() { echo STACK_SMTP_PORT STACK_INBOX_PORT; }
inbox_stop_signal() { echo TERM; }
inbox_ready() { curl -fsS -m 2 -o /dev/null "http://127.0.0.1:$STACK_INBOX_PORT/live" 2>/dev/null; }

inbox_start() {
  local go
  go=$(command -v go || command -v /usr/local/go/bin/go) || die "go is missing: install Go 1.26 or newer (https://go.dev/dl), the inbox is built from cmd/inbox"
  say "building the inbox"
  # Without version stamps: git refuses to answer in a clone that belongs to another user.
  (cd "$root" && CGO_ENABLED=0 "$go" build -trimpath -buildvcs=false -o "$stack/bin/inbox" ./cmd/inbox) ||
    die "the inbox does not build, see above"
  launch inbox HOST=127.0.0.1 SMTP_PORT="$STACK_SMTP_PORT" INBOX_PORT="$STACK_INBOX_PORT" "$stack/bin/inbox"
}

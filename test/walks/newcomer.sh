#!/usr/bin/env bash
# A newcomer: README alone, Go and make.
# shellcheck disable=SC2016,SC2034 # run shows commands as they are typed, and evaluates them
. test/walks/lib.sh

# The README's ports, moved.
export APP_PORT=$((8080 + STACK_PORT_OFFSET)) CONSUMER_PORT=$((8081 + STACK_PORT_OFFSET))
export INBOX_PORT=$((8025 + STACK_PORT_OFFSET)) SMTP_PORT=$((1025 + STACK_PORT_OFFSET))
replace="s/:8080/:$APP_PORT/; s/:8025/:$INBOX_PORT/"

say "What is there?"
run make
sees 'stack-up'

say "The whole service in one process."
start standalone 'make run'
await '"data":\{"status":"healthy"' "curl -s http://127.0.0.1:$APP_PORT/health"
tails standalone 20
sees "http://127.0.0.1:$INBOX_PORT"

say "The path, with curl."
block README.md path
sees '"email":"an@example.com"'
sees '"status":"trialing"'

say "Fourteen days in a second."
block README.md clock
await 'in 1 day' "curl -s \"\$inbox/api/messages?to=an@example.com\" | grep -o '\"subject\":\"[^\"]*\"'"
await 'expired' 'bin/standalone user show an@example.com'
sees 'not entitled'

say "Many at once, with progress."
block README.md invitations
sees '"status":"DONE"'

say "And the demo, which goes the whole way by itself."
run 'make demo'
sees 'cancel'

stop standalone

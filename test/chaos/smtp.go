package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/smtptest"
)

// gone and full begin the addresses that the mail server never accepts.
const (
	gone = "gone-"
	full = "full-"
)

// always are the rules that hold beside those of every fault: a recipient that was refused for good stays so.
func always() []smtptest.Rule {
	begins := func(prefix string) func(string) bool {
		return func(recipient string) bool { return strings.HasPrefix(recipient, prefix) }
	}
	return []smtptest.Rule{
		smtptest.At(smtptest.Rcpt).Reply(550).Text("5.1.1 no such user").To(begins(gone)),
		smtptest.At(smtptest.EndOfData).Reply(552).Text("5.2.2 mailbox full").To(begins(full)),
	}
}

// script has the mail server follow rules, and nothing but always without them.
func (m *mailServer) script(rules ...smtptest.Rule) { m.Script(append(always(), rules...)...) }

// smtp is a mail server that misbehaves.
func smtp(what string, patience time.Duration, rule smtptest.Rule) *fault {
	return &fault{
		name:     "smtp: " + what,
		patience: patience,
		begin:    func(_ context.Context, r *run, _ *section) error { r.mail.script(rule); return nil },
		end:      behave,
	}
}

func behave(_ context.Context, r *run) error { r.mail.script(); return nil }

// cutAfterDot leaves open for every mail whether it was accepted.
var cutAfterDot = func() *fault {
	f := smtp("cut after the dot", 0, smtptest.At(smtptest.EndOfData).Cut())
	f.short, f.ambiguous = true, true
	return f
}()

// refuseRecipients has some people register with addresses that the mail server does not know, and others whose mailbox
// is full.
func refuseRecipients(_ context.Context, r *run, _ *section) error {
	r.crowd.refused.Store(true)
	return nil
}

func welcome(_ context.Context, r *run) error { r.crowd.refused.Store(false); return nil }

// greylist refuses every recipient the first time.
func greylist(_ context.Context, r *run, _ *section) error {
	var seen sync.Map
	first := func(recipient string) bool { _, before := seen.LoadOrStore(recipient, true); return !before }
	r.mail.script(smtptest.At(smtptest.Rcpt).Reply(450).Text("4.2.0 greylisted").To(first))
	return nil
}

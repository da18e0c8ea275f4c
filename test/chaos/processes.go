package main

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

func apis(r *run) []*harness.Process      { return r.APIs }
func consumers(r *run) []*harness.Process { return r.Consumers }

// killProcess kills one process of a role, drawn by lot.
func killProcess(role func(*run) []*harness.Process) func(context.Context, *run, *section) error {
	return func(_ context.Context, r *run, s *section) error {
		all := role(r)
		victim := all[r.draw(len(all))]
		s.notes = append(s.notes, victim.Name)
		return victim.Kill()
	}
}

// killInMail kills a consumer while it has several mails in hand, because the mail server is slow.
func killInMail(ctx context.Context, r *run, s *section) error {
	r.mail.script(smtptest.At(smtptest.Mail).Delay(1500 * time.Millisecond))
	pause(ctx, 3*time.Second)
	err := killProcess(consumers)(ctx, r, s)
	r.mail.script()
	return err
}

// restartProcesses starts what does not run.
func restartProcesses(ctx context.Context, r *run) (err error) {
	for _, p := range r.Processes() {
		if p.Running() {
			continue
		}
		if failed := p.Start(ctx); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		err = errors.Join(err, p.WaitReady(ctx))
	}
	return err
}

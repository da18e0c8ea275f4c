package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	ops "github.com/smap-platform/identity/internal/operations"
)

// people is what the console shows of persons and does to their accounts: as the commands do, on the parts of a process that
// runs.
type people struct {
	*infra
	accounts *authentications.Administration
	resender *authentications.Resender
}

func (in *infra) newPeople(events event.Publisher) *people {
	ender := newEnder(in.cfg, in.db, in.longTx, in.clock, events) // all sessions are many rows
	return &people{in, administration(in.cfg, in.db, in.longTx, in.clock, ender, events),
		authentications.NewResender(authentications.ResenderDeps{
			Tx:       in.tx,
			Users:    authsql.NewUsers(in.db),
			Requests: authsql.NewCodeRequests(in.db),
			Guard:    in.newGuard(),
			Events:   events,
			Audit:    newRecorder(in.db, in.clock),
			Clock:    in.clock,
			CodeKeys: codeKeys(in.cfg.Secrets),
		})}
}

// ByAddress implements [ops.People].
func (p *people) ByAddress(ctx context.Context, address string) (ops.Person, error) {
	return readPerson(ctx, p.cfg, p.db, p.clock.Now(), address)
}

// ByID implements [ops.People].
func (p *people) ByID(ctx context.Context, userID string) (ops.Person, error) {
	u, err := authsql.NewUsers(p.db).ByID(ctx, userID)
	if errors.Is(err, authentication.ErrUserNotFound) {
		return ops.Person{}, fmt.Errorf("no account has this id, or it was deleted: %w", ops.ErrNobody)
	}
	if err != nil {
		return ops.Person{}, err
	}
	return p.ByAddress(ctx, u.Email)
}

// Do implements [ops.People].
func (p *people) Do(ctx context.Context, verb ops.Verb, userID, reason string) (done string, err error) {
	by := authentication.Operator
	switch verb {
	case ops.Disable:
		_, err = p.accounts.Disable(ctx, by, userID, reason)
		return "The account is disabled, and its sessions have ended.", err
	case ops.Enable:
		_, err = p.accounts.Enable(ctx, by, userID)
		return "The account is enabled.", err
	case ops.EndSessions:
		return "Every session has ended.", p.accounts.EndSessions(ctx, by, userID)
	case ops.Promote:
		_, err = p.accounts.ChangeRole(ctx, by, userID, authentication.RoleAdmin)
		return "Promoted; the role counts from the next request on.", err
	case ops.Demote:
		_, err = p.accounts.ChangeRole(ctx, by, userID, authentication.RoleUser)
		return "Demoted.", err
	case ops.Delete:
		_, err = p.accounts.Delete(ctx, by, userID, reason)
		return "The account is deleted; its data are erased after ERASE_AFTER.", err
	case ops.Resend:
		return p.resend(ctx, userID)
	}
	return "", fmt.Errorf("there is nothing called %q to do to an account", verb)
}

func (p *people) resend(ctx context.Context, userID string) (done string, err error) {
	u, err := authsql.NewUsers(p.db).ByID(ctx, userID)
	if err != nil {
		return "", err
	}
	purpose, eventID, err := p.resender.Resend(ctx, u.Email)
	return fmt.Sprintf("A code for %s is on its way: %s.", strings.ReplaceAll(string(purpose), "_", " "), eventID), err
}

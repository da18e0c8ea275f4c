package usecase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// InvitationDeps are what Invitations needs; all are required.
type InvitationDeps struct {
	Tx          authentication.Transactor
	LongTx      authentication.Transactor // the same database, for what writes a hundred thousand rows in one commit
	Users       authentication.UserRepository
	Batches     authentication.BatchRepository
	Invitations authentication.InvitationRepository
	Pace        authentication.PaceRepository
	Passwords   authentication.PasswordHasher
	Tokens      authentication.TokenIssuer
	Trials      authentication.TrialStarter
	Events      event.Publisher
	Outbox      authentication.Withdrawer
	Progress    authentication.ProgressTracker
	Clock       authentication.Clock
	CodeKey     authentication.CodeKey
	PerSecond   int // mails of all batches together, the same in every process; 1 to 1,000,000
}

// Invitations has one method per verb of the API that deals with invitations in bulk. Safe for concurrent use.
type Invitations struct {
	InvitationDeps
	writing chan struct{} // holds one: the batches of one process are written one after the other
}

// NewInvitations panics when a dependency is missing.
func NewInvitations(d InvitationDeps) *Invitations {
	for name, missing := range map[string]bool{
		"Tx": d.Tx == nil, "LongTx": d.LongTx == nil, "Users": d.Users == nil, "Batches": d.Batches == nil,
		"Invitations": d.Invitations == nil, "Pace": d.Pace == nil, "Passwords": d.Passwords == nil, "Tokens": d.Tokens == nil,
		"Trials": d.Trials == nil, "Events": d.Events == nil, "Outbox": d.Outbox == nil, "Progress": d.Progress == nil,
		"Clock": d.Clock == nil, "CodeKey": len(d.CodeKey) == 0, "PerSecond": d.PerSecond < 1 || d.PerSecond > 1_000_000,
	} {
		if missing {
			panic(fmt.Sprintf("authentication/usecase: InvitationDeps.%s is missing", name))
		}
	}
	return &Invitations{d, make(chan struct{}, 1)}
}

// authorize answers nil when the actor is an administrator, by his token and still: a token outlives the role it tells of.
// Else it answers ErrForbidden, or ErrUnauthenticated when he is gone.
func (uc *Invitations) authorize(ctx context.Context, actor authentication.Actor) error {
	if !actor.Admin {
		return authentication.ErrForbidden
	}
	user, err := uc.Users.ByID(ctx, actor.UserID)
	switch {
	case errors.Is(err, authentication.ErrUserNotFound), err == nil && !user.Active:
		return authentication.ErrUnauthenticated
	case err != nil:
		return err
	case user.Role != authentication.RoleAdmin:
		return authentication.ErrForbidden
	}
	return nil
}

// spacing is the time between two mails.
func (uc *Invitations) spacing() time.Duration { return time.Second / time.Duration(uc.PerSecond) }

// progressTimeout is how long a request waits for what only follows the commit and is repaired from it.
const progressTimeout = 2 * time.Second

// follow has progress follow a commit. It answers no error because nothing is lost by one: the Repairer compares every
// open batch with its project, and repeats what is missing there.
func follow(ctx context.Context, do func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), progressTimeout)
	defer cancel()
	_ = do(ctx)
}

// Package usecase has one file per verb of bulk invitations: invite, cancel and accept belong to the api, send mail,
// close, repair and purge to the consumer, rebuild to its command line.
//
// What is written for one request is in one commit. No password is hashed and no progress is counted inside a
// transaction. Counting follows the commit and can fail alone; [Repairer] makes up for it.
package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/invitation"
)

// Deps are the dependencies of a [UseCase]. All are required.
type Deps struct {
	Tx          invitation.Transactor
	LongTx      invitation.Transactor // the same database, with time for a hundred thousand rows in one commit
	Batches     invitation.BatchRepository
	Invitations invitation.Repository
	Pace        invitation.PaceRepository
	Accounts    invitation.AccountCreator
	Activator   invitation.Activator
	Owners      invitation.AccountFinder
	Passwords   invitation.PasswordHasher
	Events      event.Publisher
	Audit       audit.Recorder
	Outbox      invitation.Outbox
	Progress    invitation.Progress
	Clock       invitation.Clock
	TokenKeys   invitation.TokenKeys
	PerSecond   int // mails of all batches together, the same in every process

	ParseEmail    func(address string) (string, error) // returns an address in the form in which it is stored
	CheckPassword func(password, email string) error   // returns why the owner of an address cannot have a new password
}

// UseCase has one method per verb of the API. It is safe for concurrent use.
type UseCase struct {
	deps    Deps
	writing chan struct{} // has room for one: a process writes its batches one after the other
}

// New returns a [UseCase].
func New(d Deps) *UseCase {
	return &UseCase{deps: d, writing: make(chan struct{}, 1)}
}

// MayInvite returns ErrForbidden unless the actor may call Invite and Cancel. It is for callers that have to know before they
// read what is to be done; the verbs ask again.
func (uc *UseCase) MayInvite(actor invitation.Actor) error { return authorize(actor) }

// authorize returns ErrForbidden unless the actor is an administrator.
func authorize(actor invitation.Actor) error {
	if !actor.Admin {
		return invitation.ErrForbidden
	}
	return nil
}

// spacing is the time between two mails.
func (uc *UseCase) spacing() time.Duration { return time.Second / time.Duration(uc.deps.PerSecond) }

// progressTimeout is how long a request waits for its progress to be updated.
const progressTimeout = 2 * time.Second

// updateProgress calls update beside a commit, also when the client has gone. It returns no error because nothing is
// lost by one: the [Repairer] compares every open batch with its project and repeats what is missing there.
func updateProgress(ctx context.Context, update func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), progressTimeout)
	defer cancel()
	_ = update(ctx)
}

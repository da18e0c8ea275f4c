// Package usecase owns what happens to an account, one file per verb: [UseCase] is what people do through the API
// (register, ask for another code, verify, log in, see and end their sessions) and activates accounts for other domains,
// [Invited] creates and deletes accounts for them, [CodeMailSender] sends mails in the consumer, [Administration] is
// what administrators and operators do, and [Eraser] erases those who were deleted.
//
// A stored code and its event are in one commit, a wrong try is counted although the request fails, and no password is
// hashed inside a transaction. What it does for an address it does for every address, known or not, with the same
// statements and hashes: neither a response nor its time shows who has an account.
package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// Deps are the dependencies of a [UseCase]. All are required.
type Deps struct {
	Tx        authentication.Transactor
	Users     authentication.UserRepository
	Requests  authentication.CodeRequestRepository
	Guard     authentication.Guard
	Sessions  authentication.SessionRepository
	Passwords authentication.PasswordHasher
	Tokens    authentication.TokenIssuer
	Trials    authentication.TrialStarter
	Events    event.Publisher
	Audit     audit.Recorder
	Clock     authentication.Clock
	CodeKeys  authentication.CodeKeys

	PasswordRules authentication.PasswordRules
	SessionPolicy authentication.SessionPolicy
	// Reused is called when a token came back that its browser had replaced: there is a copy of it.
	Reused func(ctx context.Context, s authentication.Session)
}

// UseCase has one method per verb of the API. It is safe for concurrent use.
type UseCase struct{ deps Deps }

// New returns a [UseCase].
func New(d Deps) *UseCase { return &UseCase{deps: d} }

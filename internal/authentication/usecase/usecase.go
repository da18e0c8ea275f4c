// Package usecase owns what happens to an account, one file per verb: [UseCase] is what people do through the API
// (register, ask for another code, verify, log in, see who is logged in) and activates accounts for other domains,
// [Invited] creates and deletes accounts for them, [CodeMailSender] sends mails in the consumer, and [Promoter] makes
// administrators from the command line.
//
// A stored code and its event are in one commit, a wrong try is counted although the request fails, and no password is
// hashed inside a transaction. The package does not hide for ever that an address is registered: registering it again
// reveals it, and so does a code that has expired or has been tried too often.
package usecase

import (
	"fmt"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// Deps are what a UseCase needs; all are required.
type Deps struct {
	Tx        authentication.Transactor
	Users     authentication.UserRepository
	Codes     authentication.CodeRepository
	Passwords authentication.PasswordHasher
	Tokens    authentication.TokenIssuer
	Trials    authentication.TrialStarter
	Events    event.Publisher
	Clock     authentication.Clock
	CodeKey   authentication.CodeKey
}

// UseCase has one method per verb of the API. Safe for concurrent use.
type UseCase struct{ Deps }

// New panics when a dependency is missing: that is a mistake in the wiring, to be seen at the start.
func New(d Deps) *UseCase {
	for name, missing := range map[string]bool{
		"Tx": d.Tx == nil, "Users": d.Users == nil, "Codes": d.Codes == nil,
		"Passwords": d.Passwords == nil, "Tokens": d.Tokens == nil, "Trials": d.Trials == nil, "Events": d.Events == nil,
		"Clock": d.Clock == nil, "CodeKey": len(d.CodeKey) == 0,
	} {
		if missing {
			panic(fmt.Sprintf("authentication/usecase: Deps.%s is missing", name))
		}
	}
	return &UseCase{d}
}

package usecase

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// ErrNothingToResend is returned where nobody waits for a code.
var ErrNothingToResend = errors.New(
	"nobody waits for a code at this address: have the person register, log in, or ask for a new password")

// ResenderDeps are the dependencies of a [Resender]. All are required.
type ResenderDeps struct {
	Tx       authentication.Transactor
	Users    authentication.UserRepository
	Requests authentication.CodeRequestRepository
	Guard    authentication.Guard
	Events   event.Publisher
	Audit    audit.Recorder
	Clock    authentication.Clock
	CodeKeys authentication.CodeKeys
}

// Resender is the verb of the command line that has another code mailed. It is safe for concurrent use.
type Resender struct{ deps ResenderDeps }

// NewResender returns a [Resender].
func NewResender(d ResenderDeps) *Resender { return &Resender{deps: d} }

// Resend makes another code in the request of this address that had one last, and has it mailed: the browser that asked can
// spend it, and no other. It counts like a code that the person asked for from there, and is recorded. It returns what the
// code proves, and the event that mails it.
//
// Resend returns ErrInvalidEmail, [ErrNothingToResend], or the error of [authentication.TryAgainIn].
func (r *Resender) Resend(ctx context.Context, email string) (p authentication.Purpose, eventID string, err error) {
	email, err = authentication.TypedEmail(email)
	if err != nil {
		return "", "", err
	}
	last, err := r.newest(ctx, email)
	if err != nil {
		return "", "", err
	}
	eventID, err = r.issueAnother(ctx, email, last)
	return last.Purpose, eventID, err
}

// newest returns the request that find finds, no longer locked.
func (r *Resender) newest(ctx context.Context, email string) (last authentication.CodeRequest, err error) {
	err = r.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) (err error) {
		_, last, err = r.find(ctx, email)
		return err
	})
	return last, err
}

// issueAnother makes another code in place of that of last, which is still the newest.
func (r *Resender) issueAnother(
	ctx context.Context, email string, last authentication.CodeRequest,
) (eventID string, err error) {
	err = r.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if err := r.count(ctx, email, last); err != nil { // before the user is locked, as everywhere
			return err
		}
		user, request, err := r.find(ctx, email)
		if err != nil {
			return err
		}
		if request.Code.EventID != last.Code.EventID { // the person was first
			return authentication.TryAgainIn(authentication.ResendInterval)
		}
		now := r.deps.Clock.Now()
		eventID, err = issuer{r.deps.Requests, r.deps.Events, r.deps.CodeKeys}.
			issue(ctx, request, user, cmp.Or(request.Locale, user.Locale, "en"), now, now)
		if err != nil {
			return err
		}
		return r.deps.Audit.Record(ctx, audit.Entry{
			Action:    audit.MailResent,
			UserID:    user.ID,
			SubjectID: eventID,
			Details:   audit.Details{Address: request.Email, Reason: string(request.Purpose)},
		})
	})
	return eventID, err
}

// find returns the user, the zero User when there is none, and the request that had a code last, of those whose code would
// be mailed. Both are locked.
func (r *Resender) find(
	ctx context.Context, email string,
) (user authentication.User, last authentication.CodeRequest, err error) {
	user, err = r.deps.Users.LockByEmail(ctx, email)
	if err != nil && !errors.Is(err, authentication.ErrUserNotFound) {
		return user, last, err
	}
	var requests []authentication.CodeRequest
	for _, kind := range []struct {
		purpose authentication.Purpose
		mailed  bool
	}{{authentication.PurposeVerification, !user.Active && !user.Disabled()}, {authentication.PurposeReset, user.ID != "" && !user.Disabled()}} {
		if !kind.mailed {
			continue
		}
		found, err := r.deps.Requests.OfAddress(ctx, email, kind.purpose)
		if err != nil {
			return user, last, err
		}
		requests = append(requests, found...)
	}
	requests = slices.DeleteFunc(requests, func(q authentication.CodeRequest) bool { return !q.Code.UsedAt.IsZero() })
	if len(requests) == 0 {
		return user, last, ErrNothingToResend
	}
	return user, slices.MaxFunc(requests, func(a, b authentication.CodeRequest) int {
		return a.Code.CreatedAt.Compare(b.Code.CreatedAt)
	}), nil
}

// count counts the code as one for the network that the request came from.
func (r *Resender) count(ctx context.Context, email string, q authentication.CodeRequest) error {
	kind := authentication.SendResend
	switch {
	case q.Purpose == authentication.PurposeReset:
		kind = authentication.SendReset
	case q.Code.Dead():
		kind = authentication.SendReplacement
	}
	var client authentication.Client
	if network, err := netip.ParsePrefix(q.Network); err == nil {
		client.IP = network.Addr()
	}
	now := r.deps.Clock.Now()
	if wait := authentication.ResendInterval - now.Sub(q.Code.CreatedAt); wait > 0 && !q.Code.Dead() {
		return authentication.TryAgainIn(wait)
	}
	err := r.deps.Guard.Send(ctx, email, client, kind)
	if errors.Is(err, authentication.ErrTooSoon) {
		return authentication.TryAgainIn(authentication.ResendInterval)
	}
	return err
}

package usecase

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// SendCode has another code mailed for the request that these credentials belong to, and lets this browser spend it. It
// returns the value that names the browser. Within ResendInterval of the last code, unless wrong tries have ended that,
// no code is made: this browser can spend the last one. Addresses with an account are as in [UseCase.Register].
//
// SendCode returns ErrInvalidEmail, ErrWrongPassword, ErrBusy, an error of the Guard, or – to an active user's own
// password only – ErrAlreadyVerified or ErrDisabled.
func (uc *UseCase) SendCode(
	ctx context.Context, c authentication.Credentials, client authentication.Client,
) (browser string, err error) {
	found, err := uc.authenticate(ctx, c, client)
	if err != nil {
		return "", err
	}
	uc.undoLogin(ctx, found.email(), client)
	if found.request == nil && found.user.Disabled() {
		return "", authentication.ErrDisabled
	}
	if found.request == nil && found.user.Active {
		return "", authentication.ErrAlreadyVerified
	}
	browser = client.Browser()
	email := found.email()
	now := uc.deps.Clock.Now()
	again, kind := found.sends(now)
	if found.request == nil || again {
		err := uc.deps.Guard.MaySend(ctx, email, client, kind)
		if err != nil && !errors.Is(err, authentication.ErrTooSoon) {
			return "", err
		}
	}
	err = uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		again := again
		if found.request == nil || again {
			switch err := uc.deps.Guard.Send(ctx, email, client, kind); {
			case errors.Is(err, authentication.ErrTooSoon):
				again = false
			case err != nil:
				return err
			}
		}
		return uc.resend(ctx, found, again, browser, client, now)
	})
	return browser, err
}

// sends reports whether another code is made in the request, and of which kind a new one is.
func (p *proven) sends(now time.Time) (again bool, kind authentication.SendKind) {
	switch {
	case p.request == nil:
		return false, authentication.SendRegistration // makes the first request
	case p.request.Code.Dead():
		return true, authentication.SendReplacement
	}
	return p.request.Code.CanResend(now), authentication.SendResend
}

// resend binds the browser to the request that was found, and makes another code in it when again is set. For a user of
// the previous release, whose password is in their row, it makes the first request.
func (uc *UseCase) resend(
	ctx context.Context, found proven, again bool, browser string, client authentication.Client, now time.Time,
) error {
	user, err := uc.deps.Users.LockByEmail(ctx, found.email())
	if errors.Is(err, authentication.ErrUserNotFound) {
		err = nil // purged or deleted: the proof of the address creates another
	}
	if err != nil {
		return err
	}
	if found.request == nil {
		if user.Active || user.Disabled() || user.PasswordHash != found.user.PasswordHash {
			return authentication.ErrWrongPassword // of a moment ago
		}
		return uc.request(ctx, authentication.CodeRequest{
			ID:           uuid.Must(uuid.NewV7()).String(),
			Purpose:      authentication.PurposeVerification,
			Email:        user.Email,
			Locale:       client.Locale,
			Network:      client.Network(),
			PasswordHash: user.PasswordHash,
			PasswordTag:  found.tag,
			CreatedAt:    now,
		}, user, browser)
	}
	requests, err := uc.deps.Requests.OfAddress(ctx, found.email(), authentication.PurposeVerification)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(requests, func(r authentication.CodeRequest) bool { return r.ID == found.request.ID })
	if i < 0 {
		return authentication.ErrWrongPassword // pushed out a moment ago
	}
	if last := requests[i].Code; again && (last.CanResend(now) || last.Dead()) { // another request may have been first
		if err := uc.issueCode(ctx, requests[i], user, client.Locale, now); err != nil {
			return err
		}
	}
	return uc.bind(ctx, requests[i].ID, browser)
}

// issueCode makes the code that a person has just asked for; see issuer.
func (uc *UseCase) issueCode(
	ctx context.Context, r authentication.CodeRequest, user authentication.User, locale string, now time.Time,
) error {
	_, err := issuer{uc.deps.Requests, uc.deps.Events, uc.deps.CodeKeys}.issue(ctx, r, user, locale, now, now)
	return err
}

// issuer makes codes.
type issuer struct {
	requests authentication.CodeRequestRepository
	events   event.Publisher
	keys     authentication.CodeKeys
}

// issue stores a request with a new code and puts its mail into the outbox. It returns the event that mails it. requestedAt
// is when the person asked for it. The code of a verification is mailed to nobody when the user is active or disabled: they
// get a notice. user is the zero User when there is none: then no code for a new password is mailed, nor to one who is
// disabled.
func (i issuer) issue(
	ctx context.Context, r authentication.CodeRequest, user authentication.User, locale string, requestedAt, now time.Time,
) (eventID string, err error) {
	digits := authentication.NewDigits()
	r.Code = authentication.Code{
		Digest:    i.keys.Digest(r.Purpose, r.ID, digits),
		EventID:   event.NewID(),
		CreatedAt: requestedAt,
		ExpiresAt: now.Add(authentication.CodeLifetime),
	}
	if err := i.requests.Save(ctx, r); err != nil {
		return "", err
	}
	e := event.Event{ID: r.Code.EventID, Time: now}
	mail := event.VerificationRequested{
		UserID:    r.UserID,
		Recipient: r.Email,
		OTPCode:   digits,
		Locale:    locale,
		ExpiresAt: r.Code.ExpiresAt,
	}
	switch {
	case r.Purpose == authentication.PurposeReset && (user.ID == "" || user.Disabled()):
		return "", nil
	case r.Purpose == authentication.PurposeReset:
		mail.Recipient = user.Email
		e.Key, e.Data = event.EmailPasswordResetRequested, event.PasswordResetRequested(mail)
	case user.Active || user.Disabled():
		e.Key = event.EmailAccountExistsRequested
		e.Data = event.AccountExistsMail{UserID: user.ID, Recipient: user.Email, Locale: cmp.Or(user.Locale, locale)}
	default:
		e.Key, e.Data = event.EmailVerificationRequested, mail
	}
	return e.ID, i.events.Publish(ctx, e)
}

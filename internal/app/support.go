package app

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/invitation"
	invitationsql "github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/render"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	ops "github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/subscription"
	subscriptionsql "github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	"github.com/smap-platform/identity/pkg/database"
)

// The places of a mail that are no states of the ledger.
const (
	placeOutbox = "outbox" // its event is in the outbox
	placeDead   = "dead"   // its event was given up, and waits for an operator
)

// sessionsShown is how many sessions are shown at most, those used last.
const sessionsShown = 1000

// ShowPerson returns everything about an address that support may see, or an error that says that nothing is known.
func ShowPerson(ctx context.Context, cfg config.Config, db *database.DB, email string) (p ops.Person, err error) {
	clock, err := onThisRelease(ctx, &cfg, db)
	if err != nil {
		return p, err
	}
	return readPerson(ctx, cfg, db, clock.Now(), email)
}

// reading is a person of whom everything is being read.
type reading struct{ ops.Person }

func readPerson(
	ctx context.Context, cfg config.Config, db *database.DB, now time.Time, email string,
) (ops.Person, error) {
	email, err := authentication.TypedEmail(email)
	if err != nil {
		return ops.Person{}, err
	}
	p := reading{ops.Person{
		Email: email, Sessions: []ops.PersonSession{}, Requests: []ops.PersonRequest{},
		Invitations: []ops.PersonInvitation{}, Mails: []ops.PersonMail{}, Waiting: []ops.PersonMail{},
	}}
	if err := p.readUser(ctx, cfg, db, now); err != nil {
		return p.Person, err
	}
	if err := p.readRequests(ctx, db, now); err != nil {
		return p.Person, err
	}
	if err := p.readMails(ctx, db, now, recipientDigests(cfg.Secrets, email)...); err != nil {
		return p.Person, err
	}
	if p.User == nil && len(p.Requests)+len(p.Mails) == 0 {
		return p.Person, ops.ErrNobody
	}
	return p.Person, nil
}

func (p *reading) readUser(ctx context.Context, cfg config.Config, db *database.DB, now time.Time) error {
	u, err := authsql.NewUsers(db).ByEmail(ctx, p.Email)
	if errors.Is(err, authentication.ErrUserNotFound) {
		return p.readDeleted(ctx, db)
	}
	if err != nil {
		return err
	}
	p.Email = u.Email
	p.User = &ops.PersonUser{ID: u.ID, State: "not verified", Role: string(u.Role), Locale: u.Locale, CreatedAt: u.CreatedAt}
	switch {
	case u.Disabled():
		p.User.State = "disabled"
	case u.Active:
		p.User.State = "active"
	}
	held, err := subscriptionsql.NewSubscriptions(db).LatestOf(ctx, u.ID)
	if err != nil {
		return err
	}
	grace := cfg.Subscriptions.PastDueGrace
	if s, ok := subscription.Latest(held, now, grace); ok {
		e := s.Entitlement(now, grace)
		p.Subscription = &ops.PersonSubscription{
			ID: s.ID, Plan: e.PlanCode, Status: string(e.Status), Entitled: e.Entitled, Until: e.Until,
		}
	}
	sessions, err := authsql.NewSessions(db).List(ctx, u.ID, now, sessionsShown)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		p.Sessions = append(p.Sessions, ops.PersonSession{
			ID: s.ID, Device: s.Device, UserAgent: s.UserAgent, IP: s.IP,
			CreatedAt: s.CreatedAt, LastSeenAt: s.LastSeenAt, ExpiresAt: s.ExpiresAt,
		})
	}
	invitations, err := invitationsql.NewInvitations(db).OfUser(ctx, u.ID)
	for _, i := range invitations {
		state := stateOfInvitation(i, now)
		if state == stateOpen && !u.Active && !u.Disabled() {
			p.User.State = "invited"
		}
		p.Invitations = append(p.Invitations, ops.PersonInvitation{
			BatchID: i.BatchID, CreatedAt: i.CreatedAt, ExpiresAt: i.ExpiresAt, State: state, EventID: i.EventID,
		})
	}
	return err
}

// readDeleted reads who had the address last, where nobody has it.
func (p *reading) readDeleted(ctx context.Context, db *database.DB) error {
	id, at, err := authsql.NewUsers(db).LastDeleted(ctx, p.Email)
	if errors.Is(err, authentication.ErrUserNotFound) {
		return nil
	}
	p.User = &ops.PersonUser{ID: id, State: "deleted", DeletedAt: at}
	return err
}

// stateOpen is the state of an invitation that can be accepted.
const stateOpen = "open"

func stateOfInvitation(i invitation.Invitation, now time.Time) string {
	switch {
	case !i.AcceptedAt.IsZero():
		return "accepted"
	case !i.CancelledAt.IsZero():
		return "cancelled"
	case !now.Before(i.ExpiresAt):
		return "expired"
	}
	return stateOpen
}

func (p *reading) readRequests(ctx context.Context, db *database.DB, now time.Time) error {
	requests, err := authsql.NewCodeRequests(db).All(ctx, p.Email)
	for _, r := range requests {
		p.Requests = append(p.Requests, ops.PersonRequest{
			Purpose: string(r.Purpose), Network: r.Network, CreatedAt: r.CreatedAt, CodeAt: r.Code.CreatedAt,
			ExpiresAt: r.Code.ExpiresAt, State: stateOfCode(r.Code, now), WrongTries: r.Code.WrongTries, EventID: r.Code.EventID,
		})
	}
	return err
}

func stateOfCode(c authentication.Code, now time.Time) string {
	switch {
	case !c.UsedAt.IsZero():
		return "used"
	case c.Dead():
		return "ended by wrong tries"
	case !now.Before(c.ExpiresAt):
		return "expired"
	}
	return "good"
}

func (p *reading) readMails(ctx context.Context, db *database.DB, now time.Time, digests ...[]byte) error {
	mails, err := mailsql.NewLedger(db).To(ctx, now.Add(-mailLife), digests, p.events())
	if err != nil {
		return err
	}
	if slices.ContainsFunc(mails, func(d notification.Delivery) bool {
		return d.Recipient != nil && !slices.ContainsFunc(digests, func(of []byte) bool { return bytes.Equal(of, d.Recipient) })
	}) {
		p.Warnings = append(p.Warnings, warnKey)
	}
	var open []string
	for _, d := range mails {
		if d.State.Open() {
			open = append(open, d.EventID)
		}
	}
	rows, err := waitingRows(ctx, db, open)
	if err != nil {
		return err
	}
	for _, d := range mails {
		row, found := rows[d.EventID]
		m := ops.PersonMail{
			EventID: d.EventID, Kind: d.Kind, AskedAt: d.CreatedAt, ChangedAt: d.UpdatedAt, Attempts: d.Attempts,
			Repeats: d.Resends,
		}
		var next time.Time
		m.State, m.Class, next = placeOf(d, row, found)
		if next.After(now) {
			m.NextAt = &next
		}
		p.Mails = append(p.Mails, m)
		switch m.State {
		case placeOutbox, string(notification.StateOwed), string(notification.StateSending):
			p.Waiting = append(p.Waiting, m)
		}
	}
	return nil
}

// warnKey is shown where another key has been at work.
const warnKey = "mails to this address were recorded with another CODE_HMAC_KEY: those that belong to no request and no " +
	"invitation are not shown; give this command the key of the service"

// events are those that mail codes and invitations.
func (p *reading) events() (ids []string) {
	for _, r := range p.Requests {
		if r.EventID != "" {
			ids = append(ids, r.EventID)
		}
	}
	for _, i := range p.Invitations {
		ids = append(ids, i.EventID)
	}
	return ids
}

// placeOf returns where a mail is: the state of its entry, outbox for one whose event has not left yet, or dead for one
// whose event was given up, by the relay or by a consumer; with the class of what happened last, and before when nothing
// happens to it. found says that its event is in the outbox.
func placeOf(d notification.Delivery, row outbox.Waiting, found bool) (place, class string, next time.Time) {
	reason, givenUp := strings.CutPrefix(d.ErrorClass, notification.GivenUp)
	switch {
	case d.State == notification.StateFailed && (givenUp || d.ErrorClass == notification.ClassLost):
		return placeDead, reason, next
	case !d.State.Open() || d.State == notification.StateSending: // a row that is still there has left all the same
		if d.LeaseUntil != nil {
			next = *d.LeaseUntil
		}
		return string(d.State), d.ErrorClass, next
	case found && !row.FailedAt.IsZero():
		return placeDead, row.Class, next
	case found:
		return placeOutbox, row.Class, row.DueAt
	}
	return string(d.State), d.ErrorClass, next
}

// onThisRelease returns the database's clock, or an error for a database that lacks a schema migration. The keys of a
// standalone, which are in its folder, are added to cfg.
func onThisRelease(ctx context.Context, cfg *config.Config, db *database.DB) (*database.Clock, error) {
	if err := schema.Current(ctx, db); err != nil {
		return nil, err
	}
	if dir := cfg.Embedded.DataDir; dir != "" {
		if err := fillSecrets(&cfg.Secrets, dir); err != nil {
			return nil, err
		}
	}
	return startClock(ctx, db)
}

// ResendMail has another code mailed to a person who waits for one, and returns what it is for and its event. operator is
// who asked for it.
func ResendMail(
	ctx context.Context, cfg config.Config, db *database.DB, log zerolog.Logger, operator, email string,
) (purpose, eventID string, err error) {
	in, events, err := publishing(ctx, cfg, db, log)
	if err != nil {
		return "", "", err
	}
	p, eventID, err := authentications.NewResender(authentications.ResenderDeps{
		Tx:       db,
		Users:    authsql.NewUsers(db),
		Requests: authsql.NewCodeRequests(db),
		Guard:    in.newGuard(),
		Events:   events,
		Audit:    newRecorder(db, in.clock),
		Clock:    in.clock,
		CodeKeys: codeKeys(in.cfg.Secrets),
	}).Resend(audit.WithOrigin(ctx, audit.Origin{Operator: operator}), email)
	return string(p), eventID, err
}

// publishing returns what a command needs whose change is reported by events: they are committed as every process of ours
// commits them, and any relay brings them to the broker.
func publishing(
	ctx context.Context, cfg config.Config, db *database.DB, log zerolog.Logger,
) (in *infra, events event.Publisher, err error) {
	in = &infra{cfg: cfg, log: log, db: db, tx: db, metrics: newMetrics()}
	if in.clock, err = onThisRelease(ctx, &in.cfg, db); err != nil {
		return nil, nil, err
	}
	if in.sealer, err = newSealer(in.cfg.Secrets); err != nil {
		return nil, nil, err
	}
	if in.renderer, err = render.New(); err != nil {
		return nil, nil, err
	}
	in.legacy = newWing(in)
	return in, in.owing(in.legacy.publisher(outbox.NewPublisher(db, in.sealer, in.clock, func() {}))), nil
}

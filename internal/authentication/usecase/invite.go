package usecase

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// inviteChunk is how many people are written at a time: enough to make the round trips small beside the work.
const inviteChunk = 500

// Invite creates a batch of an upload: inactive users without a password, their invitations and the paced events that
// mail them are in one commit. What cannot be invited – no address, the same one again, somebody who is there already – is
// rejected and hinders nobody else. A second upload with the same key is answered as the first was.
//
// It answers ErrForbidden, ErrUnauthenticated, ErrUpload, or ErrKeyReused for a key that belongs to another upload.
func (uc *Invitations) Invite(ctx context.Context, actor authentication.Actor, u authentication.Upload) (authentication.Invited, error) {
	if err := uc.authorize(ctx, actor); err != nil {
		return authentication.Invited{}, err
	}
	if err := checkLength(u.Addresses); err != nil {
		return authentication.Invited{}, err
	}
	select { // others wait here, without a connection: the pace would have them wait in the transaction
	case uc.writing <- struct{}{}:
		defer func() { <-uc.writing }()
	case <-ctx.Done():
		return authentication.Invited{}, ctx.Err()
	}
	w := inviteWriter{uc: uc, upload: u, batch: authentication.Batch{
		ID: authentication.NewBatchID(), AdminID: actor.UserID, IdempotencyKey: u.IdempotencyKey,
		RequestDigest: u.Digest, Locale: u.Locale,
	}}
	id, repeated := w.batch.ID, false
	follow(ctx, func(ctx context.Context) error { return uc.Progress.Begin(ctx, id, actor.UserID) })
	err := uc.LongTx.WithinTx(ctx, func(ctx context.Context) (err error) {
		now := uc.Clock.Now()
		w.batch.CreatedAt, w.batch.LastDueAt = now, now
		created, err := uc.Batches.Create(ctx, w.batch)
		if err != nil {
			return err
		}
		if repeated = !created; repeated {
			w.batch, err = uc.Batches.ByKey(ctx, actor.UserID, u.IdempotencyKey)
			return err
		}
		return w.write(ctx)
	})
	if err != nil || repeated {
		follow(ctx, func(ctx context.Context) error { return uc.Progress.Forget(ctx, id) })
	}
	if err != nil {
		return authentication.Invited{}, err
	}
	if repeated {
		if err := w.batch.Repeats(u.Digest); err != nil {
			return authentication.Invited{}, err
		}
		if err := uc.loadReport(ctx, w.batch.ID, u.Rejected); err != nil {
			return authentication.Invited{}, err
		}
	}
	switch {
	case w.batch.Total == 0:
		follow(ctx, func(ctx context.Context) error { return uc.Progress.Forget(ctx, w.batch.ID) })
	case w.batch.CompletedAt.IsZero():
		follow(ctx, func(ctx context.Context) error {
			return uc.Progress.Open(ctx, w.batch.ID, w.batch.AdminID, w.batch.Total)
		})
	}
	return authentication.Invited{BatchID: w.batch.ID, Accepted: w.batch.Total}, nil
}

// checkLength reads the whole list before anything is written for it.
func checkLength(a authentication.Addresses) error {
	n := 0
	return a.Each(func(int, string) error {
		if n++; n > authentication.MaxInvitations {
			return authentication.ErrUpload.WithFields(map[string]string{
				"body": fmt.Sprintf("has more than %d addresses; send it in parts", authentication.MaxInvitations),
			})
		}
		return nil
	})
}

// The reasons for which a line is rejected.
const (
	rejectedInvalid   = "invalid"   // not an address
	rejectedDuplicate = "duplicate" // it stands in an earlier line
	rejectedExists    = "exists"    // somebody has registered with it, or was invited before
)

// candidate is somebody who can be invited unless he is there already.
type candidate struct {
	line  int
	email string
}

// inviteWriter writes one batch in the transaction of its context.
type inviteWriter struct {
	uc     *Invitations
	upload authentication.Upload
	batch  authentication.Batch

	report *rejections
	seen   map[[16]byte]struct{} // of every address so far: all of them themselves would be too much
	chunk  []candidate
	due    time.Time // when the next mail may leave
}

func (w *inviteWriter) write(ctx context.Context) (err error) {
	now := w.batch.CreatedAt
	// Until the commit nobody else writes a batch: two that share addresses would wait for each other crosswise.
	if w.due, err = w.uc.Pace.Lock(ctx, now); err != nil {
		return err
	}
	if w.due.Before(now) {
		w.due = now
	}
	w.report, w.seen = newRejections(w.upload.Rejected), map[[16]byte]struct{}{}
	err = w.upload.Addresses.Each(func(line int, address string) error { return w.take(ctx, line, address) })
	if err != nil {
		return err
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	if err := w.report.close(); err != nil {
		return err
	}
	if w.batch.IdempotencyKey != "" {
		if err := w.uc.saveReport(ctx, w.batch.ID, w.upload.Rejected); err != nil {
			return err
		}
	}
	if w.batch.Total == 0 {
		w.batch.CompletedAt = now
	}
	if err := w.uc.Batches.Save(ctx, w.batch); err != nil {
		return err
	}
	return w.uc.Pace.Save(ctx, w.due)
}

// take judges one line.
func (w *inviteWriter) take(ctx context.Context, line int, address string) error {
	email, err := authentication.ParseEmail(address)
	if err != nil {
		return w.report.add(line, address, rejectedInvalid)
	}
	sum := sha256.Sum256([]byte(email))
	key := [16]byte(sum[:16])
	if _, twice := w.seen[key]; twice {
		return w.report.add(line, address, rejectedDuplicate)
	}
	w.seen[key] = struct{}{}
	if w.chunk = append(w.chunk, candidate{line, email}); len(w.chunk) == inviteChunk {
		return w.flush(ctx)
	}
	return nil
}

// flush writes the people gathered so far.
func (w *inviteWriter) flush(ctx context.Context) error {
	if len(w.chunk) == 0 {
		return nil
	}
	now := w.batch.CreatedAt
	users := make([]authentication.User, len(w.chunk))
	for i, c := range w.chunk {
		users[i] = authentication.User{
			ID: uuid.Must(uuid.NewV7()).String(), Email: c.email, Role: authentication.RoleUser, CreatedAt: now, UpdatedAt: now,
		}
	}
	created, err := w.uc.Users.Invite(ctx, users)
	if err != nil {
		return err
	}
	isNew := make(map[string]bool, len(created))
	for _, email := range created {
		isNew[email] = true
	}
	var invitations []authentication.Invitation
	var events []event.Event
	for i, u := range users {
		if !isNew[u.Email] {
			if err := w.report.add(w.chunk[i].line, u.Email, rejectedExists); err != nil {
				return err
			}
			continue
		}
		invitation, e, err := w.invite(u)
		if err != nil {
			return err
		}
		invitations, events = append(invitations, invitation), append(events, e)
	}
	w.chunk = w.chunk[:0]
	if len(invitations) == 0 {
		return nil
	}
	w.batch.Total += int64(len(invitations))
	if err := w.uc.Invitations.Create(ctx, invitations); err != nil {
		return err
	}
	return w.uc.Events.Publish(ctx, events...)
}

// invite answers the invitation of a new user and the event that mails it in its turn.
func (w *inviteWriter) invite(u authentication.User) (authentication.Invitation, event.Event, error) {
	token := authentication.NewInvitationToken()
	digest, err := w.uc.CodeKey.InvitationDigest(token)
	if err != nil {
		return authentication.Invitation{}, event.Event{}, err
	}
	due := w.due
	w.batch.LastDueAt, w.due = due, due.Add(w.uc.spacing())
	i := authentication.Invitation{
		ID: uuid.Must(uuid.NewV7()).String(), BatchID: w.batch.ID, UserID: u.ID, EventID: event.NewID(), Digest: digest,
		CreatedAt: w.batch.CreatedAt, ExpiresAt: due.Add(authentication.InvitationLifetime),
	}
	return i, event.Event{
		ID: i.EventID, Key: event.EmailInvitationRequested, Time: w.batch.CreatedAt, ProjectID: w.batch.ID,
		NotBefore: due, Batch: w.batch.ID,
		Data: event.InvitationRequested{
			UserID: u.ID, Recipient: u.Email, Token: token, Locale: w.batch.Locale, ExpiresAt: i.ExpiresAt,
		},
	}, nil
}

package usecase

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/invitation"
)

// Invite creates a batch of an upload: inactive accounts, their invitations and the paced events that mail them are in
// one commit. What cannot be invited – not an address, a repeated one, one that has an account – is rejected and stops
// nothing else. A second upload with the same key gets the receipt and the report of the first.
//
// It returns ErrForbidden, ErrUpload, or ErrKeyReused for a key that belongs to another upload.
func (uc *UseCase) Invite(ctx context.Context, actor invitation.Actor, u invitation.Upload) (invitation.Receipt, error) {
	if err := authorize(actor); err != nil {
		return invitation.Receipt{}, err
	}
	if err := uc.checkList(u.Addresses); err != nil {
		return invitation.Receipt{}, err
	}
	select { // wait here, without a connection; the pace's lock would be waited for in a transaction
	case uc.writing <- struct{}{}:
		defer func() { <-uc.writing }()
	case <-ctx.Done():
		return invitation.Receipt{}, ctx.Err()
	}
	batch, repeated, err := uc.storeBatch(ctx, actor, u)
	if err != nil {
		return invitation.Receipt{}, err
	}
	if repeated {
		if err := batch.CheckDigest(u.Digest); err != nil {
			return invitation.Receipt{}, err
		}
		if err := loadReport(ctx, uc.deps.Batches, batch.ID, u.Rejected); err != nil {
			return invitation.Receipt{}, err
		}
	}
	updateProgress(ctx, func(ctx context.Context) error {
		switch {
		case batch.Total == 0:
			return uc.deps.Progress.Forget(ctx, batch.ID)
		case batch.CompletedAt.IsZero():
			return uc.deps.Progress.Open(ctx, batch.ID, batch.AdminID, batch.Total)
		}
		return nil
	})
	return invitation.Receipt{BatchID: batch.ID, Accepted: batch.Total}, nil
}

// checkList reads the whole list before anything is written for it. A list without a single address is refused: it is
// something else.
func (uc *UseCase) checkList(a invitation.Addresses) error {
	n, found := 0, false
	err := a.Each(func(_ int, address string) error {
		if !found {
			_, err := uc.deps.ParseEmail(address)
			found = err == nil
		}
		if n++; n > invitation.MaxInvitations {
			return invitation.ErrUpload.WithFields(map[string]string{
				"body": fmt.Sprintf("has more than %d addresses; send it in parts", invitation.MaxInvitations),
			})
		}
		return nil
	})
	if err == nil && !found {
		err = invitation.ErrUpload.WithFields(map[string]string{
			"body": "has no e-mail address; send a JSON list, or CSV with a header line that names the column email",
		})
	}
	return err
}

// storeBatch writes the batch of an upload, or returns the one that was stored with the same key before. The project
// begins before the commit and is forgotten when there is none.
func (uc *UseCase) storeBatch(
	ctx context.Context, actor invitation.Actor, u invitation.Upload,
) (batch invitation.Batch, repeated bool, err error) {
	id := invitation.NewBatchID()
	updateProgress(ctx, func(ctx context.Context) error { return uc.deps.Progress.Begin(ctx, id, actor.UserID) })
	err = uc.deps.LongTx.WithinTxRetry(ctx, func(ctx context.Context) error {
		report, err := newReport(u.Rejected)
		if err != nil {
			return err
		}
		now := uc.deps.Clock.Now()
		batch = invitation.Batch{
			ID:             id,
			AdminID:        actor.UserID,
			IdempotencyKey: u.IdempotencyKey,
			RequestDigest:  u.Digest,
			Locale:         u.Locale,
			CreatedAt:      now,
			LastDueAt:      now,
		}
		created, err := uc.deps.Batches.Create(ctx, batch)
		if err != nil {
			return err
		}
		if repeated = !created; repeated {
			batch, err = uc.deps.Batches.ByKey(ctx, actor.UserID, u.IdempotencyKey)
			return err
		}
		w := batchWriter{
			deps:    &uc.deps,
			upload:  u,
			batch:   &batch,
			spacing: uc.spacing(),
			report:  report,
			seen:    map[[16]byte]struct{}{},
		}
		if err := w.write(ctx); err != nil {
			return err
		}
		return uc.record(ctx, audit.InvitationsMade, actor, id)
	})
	if err != nil || repeated {
		updateProgress(ctx, func(ctx context.Context) error { return uc.deps.Progress.Forget(ctx, id) })
	}
	return batch, repeated, err
}

// candidate is an address that is invited unless it has an account already.
type candidate struct {
	line  int
	email string
}

// batchWriter writes one batch in the transaction of its context.
type batchWriter struct {
	deps    *Deps
	upload  invitation.Upload
	batch   *invitation.Batch
	spacing time.Duration
	report  *report
	seen    map[[16]byte]struct{} // digests of every address so far; the addresses themselves would be too much
	chunk   []candidate
	due     time.Time // when the next mail may leave
}

func (w *batchWriter) write(ctx context.Context) (err error) {
	now := w.batch.CreatedAt
	if w.due, err = w.deps.Pace.Lock(ctx, now); err != nil {
		return err
	}
	if w.due.Before(now) {
		w.due = now
	}
	err = w.upload.Addresses.Each(func(line int, address string) error { return w.add(ctx, line, address) })
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
		if err := saveReport(ctx, w.deps.Batches, w.batch.ID, w.upload.Rejected); err != nil {
			return err
		}
	}
	if w.batch.Total == 0 {
		w.batch.CompletedAt = now
	}
	if err := w.deps.Batches.Save(ctx, *w.batch); err != nil {
		return err
	}
	return w.deps.Pace.Save(ctx, w.due)
}

// add rejects one line or makes it a candidate.
func (w *batchWriter) add(ctx context.Context, line int, address string) error {
	email, err := w.deps.ParseEmail(address)
	if err != nil {
		return w.report.add(line, address, reasonInvalid)
	}
	sum := sha256.Sum256([]byte(strings.ToLower(email)))
	key := [16]byte(sum[:16])
	if _, twice := w.seen[key]; twice {
		return w.report.add(line, address, reasonDuplicate)
	}
	w.seen[key] = struct{}{}
	if w.chunk = append(w.chunk, candidate{line, email}); len(w.chunk) == invitation.AccountChunk {
		return w.flush(ctx)
	}
	return nil
}

// flush invites the candidates gathered so far.
func (w *batchWriter) flush(ctx context.Context) error {
	if len(w.chunk) == 0 {
		return nil
	}
	emails := make([]string, len(w.chunk))
	for i, c := range w.chunk {
		emails[i] = c.email
	}
	ids, err := w.deps.Accounts.CreateInvited(ctx, emails, w.batch.Locale, w.batch.CreatedAt)
	if err != nil {
		return err
	}
	invitations := make([]invitation.Invitation, 0, len(ids))
	events := make([]event.Event, 0, len(ids))
	for _, c := range w.chunk {
		id, created := ids[c.email]
		if !created {
			if err := w.report.add(c.line, c.email, reasonExists); err != nil {
				return err
			}
			continue
		}
		i, e := w.invite(id, c.email)
		invitations = append(invitations, i)
		events = append(events, e)
	}
	w.chunk = w.chunk[:0]
	if len(invitations) == 0 {
		return nil
	}
	w.batch.Total += int64(len(invitations))
	if err := w.deps.Invitations.Create(ctx, invitations); err != nil {
		return err
	}
	return w.deps.Events.Publish(ctx, events...)
}

// invite returns the invitation of a new account and the event that mails it in its turn.
func (w *batchWriter) invite(userID, email string) (invitation.Invitation, event.Event) {
	token, digest := w.deps.TokenKeys.NewToken()
	due := w.due
	w.batch.LastDueAt = due
	w.due = due.Add(w.spacing)
	i := invitation.Invitation{
		ID:        uuid.Must(uuid.NewV7()).String(),
		BatchID:   w.batch.ID,
		UserID:    userID,
		EventID:   event.NewID(),
		Digest:    digest,
		CreatedAt: w.batch.CreatedAt,
		ExpiresAt: due.Add(invitation.Lifetime),
	}
	return i, event.Event{
		ID:        i.EventID,
		Key:       event.InvitationRequested,
		Time:      w.batch.CreatedAt,
		ProjectID: w.batch.ID,
		NotBefore: due,
		Batch:     w.batch.ID,
		Data: event.InvitationMail{
			UserID:    userID,
			Recipient: email,
			Token:     token,
			Locale:    w.batch.Locale,
			ExpiresAt: i.ExpiresAt,
		},
	}
}

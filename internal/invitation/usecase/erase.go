package usecase

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/smap-platform/identity/internal/invitation"
)

// Eraser erases what batches hold of a person. It is safe for concurrent use.
type Eraser struct{ batches invitation.ErasureRepository }

// NewEraser returns an [Eraser].
func NewEraser(b invitation.ErasureRepository) *Eraser { return &Eraser{b} }

// EraseUser erases, in the transaction of ctx, the address of a user from the reports of batches that were uploaded before
// then, and from the batches whatever but ids, counts and times leads to the user. Invitations have nothing else: they
// stay with their batch, whose progress is counted by them.
func (e *Eraser) EraseUser(ctx context.Context, userID, email string, then time.Time) error {
	if err := e.batches.EraseUser(ctx, userID, email, then); err != nil {
		return err
	}
	ids, err := e.batches.ReportedBefore(ctx, then)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := e.eraseFromReport(ctx, id, email); err != nil {
			return fmt.Errorf("invitation: erasing an address from the report of batch %s: %w", id, err)
		}
	}
	return nil
}

// eraseFromReport stores the report again if it names the address.
func (e *Eraser) eraseFromReport(ctx context.Context, batchID, email string) error {
	var stored, rejected bytes.Buffer
	if err := loadReport(ctx, e.batches, batchID, &stored); err != nil {
		return err
	}
	found, err := eraseFrom(&stored, &rejected, email)
	if err != nil || !found {
		return err
	}
	if err := e.batches.DeleteReport(ctx, batchID); err != nil {
		return err
	}
	return saveReport(ctx, e.batches, batchID, bytes.NewReader(rejected.Bytes()))
}

// eraseFrom copies a report without what names an address, and reports whether anything does. Lines and reasons stay.
func eraseFrom(from io.Reader, to io.Writer, email string) (found bool, err error) {
	unzipped, err := gzip.NewReader(from)
	if err != nil {
		return false, err
	}
	lines := json.NewDecoder(unzipped)
	if _, err := lines.Token(); err != nil { // the bracket
		return false, err
	}
	email = strings.ToLower(email)
	copied := writeReport(to)
	for lines.More() {
		var line rejection
		if err := lines.Decode(&line); err != nil {
			return false, err
		}
		if strings.Contains(strings.ToLower(line.Address), email) {
			line.Address, found = "", true
		}
		if err := copied.add(line.Line, line.Address, line.Reason); err != nil {
			return false, err
		}
	}
	return found, copied.close()
}

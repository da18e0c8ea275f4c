package usecase

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/smap-platform/identity/internal/invitation"
)

// The reasons for which a line is rejected.
const (
	reasonInvalid   = "invalid"   // not an address
	reasonDuplicate = "duplicate" // the address stands in an earlier line
	reasonExists    = "exists"    // the address has an account, registered or invited
)

// reportPart is how many bytes one part of a stored report has.
const reportPart = 256 << 10

// report writes what was rejected as it is kept and sent: a gzipped JSON list.
type report struct {
	buffer *bufio.Writer
	zip    *gzip.Writer
	lines  int
}

type rejection struct {
	Line    int    `json:"line"`
	Address string `json:"address"`
	Reason  string `json:"reason"`
}

// newReport empties what it writes to: the transaction may be a second one.
func newReport(to invitation.Report) (*report, error) {
	_, err := to.Seek(0, io.SeekStart)
	if err := errors.Join(err, to.Truncate(0)); err != nil {
		return nil, err
	}
	return writeReport(to), nil
}

func writeReport(to io.Writer) *report {
	buffer := bufio.NewWriter(to)
	return &report{buffer: buffer, zip: gzip.NewWriter(buffer)}
}

func (r *report) add(line int, address, reason string) error {
	text, err := json.Marshal(rejection{line, abridge(address), reason})
	if err != nil {
		return err
	}
	opening := ","
	if r.lines++; r.lines == 1 {
		opening = "["
	}
	_, err = r.zip.Write(append([]byte(opening), text...))
	return err
}

func (r *report) close() error {
	closing := "]"
	if r.lines == 0 {
		closing = "[]"
	}
	_, err := r.zip.Write([]byte(closing))
	return errors.Join(err, r.zip.Close(), r.buffer.Flush())
}

// abridge cuts an address between two characters to what is shown of it.
func abridge(address string) string {
	address = strings.ToValidUTF8(address, "\uFFFD")
	return strings.ToValidUTF8(address[:min(len(address), invitation.MaxAddressBytes)], "")
}

// saveReport stores a report in the transaction of ctx.
func saveReport(ctx context.Context, batches invitation.ReportRepository, batchID string, report io.ReadSeeker) error {
	if _, err := report.Seek(0, io.SeekStart); err != nil {
		return err
	}
	part := make([]byte, reportPart)
	for n := 0; ; n++ {
		size, err := io.ReadFull(report, part)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if err := batches.SaveReport(ctx, batchID, n, part[:size]); err != nil {
			return err
		}
	}
}

// loadReport writes a stored report to w.
func loadReport(ctx context.Context, batches invitation.ReportRepository, batchID string, w io.Writer) error {
	for n := 0; ; n++ {
		part, err := batches.Report(ctx, batchID, n)
		if err != nil || part == nil {
			return err
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
}

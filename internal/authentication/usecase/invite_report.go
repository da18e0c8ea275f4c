package usecase

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/smap-platform/identity/internal/authentication"
)

// rejections writes the report of an upload as it is kept and sent: a gzipped JSON list.
type rejections struct {
	buffer *bufio.Writer
	zip    *gzip.Writer
	n      int
}

type rejection struct {
	Line    int    `json:"line"`
	Address string `json:"address"`
	Reason  string `json:"reason"`
}

func newRejections(to io.Writer) *rejections {
	buffer := bufio.NewWriter(to)
	return &rejections{buffer: buffer, zip: gzip.NewWriter(buffer)}
}

func (r *rejections) add(line int, address, reason string) error {
	text, err := json.Marshal(rejection{line, shown(address), reason})
	if err != nil {
		return err
	}
	opening := ","
	if r.n++; r.n == 1 {
		opening = "["
	}
	_, err = r.zip.Write(append([]byte(opening), text...))
	return reportFailed("writing", err)
}

func (r *rejections) close() error {
	closing := "]"
	if r.n == 0 {
		closing = "[]"
	}
	_, err := r.zip.Write([]byte(closing))
	return reportFailed("writing", errors.Join(err, r.zip.Close(), r.buffer.Flush()))
}

// shown cuts an address to what is shown of it, between two characters.
func shown(address string) string {
	address = strings.ToValidUTF8(address, "\uFFFD")
	if len(address) <= authentication.MaxAddressBytes {
		return address
	}
	end := authentication.MaxAddressBytes
	for !utf8.RuneStart(address[end]) {
		end--
	}
	return address[:end]
}

// reportPart is how large the parts of a stored report are, in bytes.
const reportPart = 256 << 10

// saveReport stores a report in the transaction of ctx.
func (uc *Invitations) saveReport(ctx context.Context, batchID string, report io.ReadSeeker) error {
	if _, err := report.Seek(0, io.SeekStart); err != nil {
		return reportFailed("reading", err)
	}
	part := make([]byte, reportPart)
	for n := 0; ; n++ {
		size, err := io.ReadFull(report, part)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return reportFailed("reading", err)
		}
		if err := uc.Batches.SaveReport(ctx, batchID, n, part[:size]); err != nil {
			return err
		}
	}
}

// loadReport is the way back.
func (uc *Invitations) loadReport(ctx context.Context, batchID string, to io.Writer) error {
	for n := 0; ; n++ {
		part, err := uc.Batches.Report(ctx, batchID, n)
		if err != nil || part == nil {
			return err
		}
		if _, err := to.Write(part); err != nil {
			return reportFailed("writing", err)
		}
	}
}

func reportFailed(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("authentication: %s what was rejected: %w", doing, err)
}

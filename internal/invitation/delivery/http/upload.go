package http

import (
	"bufio"
	"crypto/sha256"
	"io"
	"mime"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/invitation"
)

// keptBytes is more than any address can have: what is longer is no address, however it goes on.
const keptBytes = 1024

// parser calls fn with each address of a list and its line. It returns the first error of fn, ErrUpload where the list
// cannot be read any further, and the reader's error. It holds one address at a time, and no more of it than keptBytes.
type parser func(r *bufio.Reader, fn func(line int, address string) error) error

// parsers are by the content type of the request.
var parsers = map[string]parser{echo.MIMEApplicationJSON: parseJSON, "text/csv": parseCSV}

// upload is a request's body on disk. It implements [invitation.Addresses].
type upload struct {
	*spool
	parse  parser
	digest []byte
}

// receive spools the body. It returns 415, or 413 for more than invitation.MaxUploadBytes, whatever the server's own
// limit is. The caller closes the upload.
func receive(c echo.Context) (*upload, error) {
	media, _, err := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType))
	parse, known := parsers[media]
	if err != nil || !known {
		return nil, echo.NewHTTPError(http.StatusUnsupportedMediaType,
			"Send a list with Content-Type: application/json, or a table with Content-Type: text/csv")
	}
	s, err := newSpool()
	if err != nil {
		return nil, err
	}
	digest := sha256.New()
	digest.Write([]byte(media + "\x00")) // the same bytes read in another way are another upload
	n, err := io.Copy(io.MultiWriter(s, digest), io.LimitReader(c.Request().Body, invitation.MaxUploadBytes+1))
	if err == nil && n > invitation.MaxUploadBytes {
		err = &http.MaxBytesError{Limit: invitation.MaxUploadBytes}
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return &upload{spool: s, parse: parse, digest: digest.Sum(nil)}, nil
}

// Each implements [invitation.Addresses].
func (u *upload) Each(fn func(line int, address string) error) error {
	if _, err := u.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return u.parse(bufio.NewReaderSize(u.File, 32<<10), fn)
}

// unusable returns ErrUpload with the problem of the body.
func unusable(problem string) error {
	return invitation.ErrUpload.WithFields(map[string]string{"body": problem})
}

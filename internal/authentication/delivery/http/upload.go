package http

import (
	"bufio"
	"crypto/sha256"
	"io"
	"mime"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

const mimeCSV = "text/csv"

// parser calls found with each address of a list and the line it stands in. It answers found's first error, ErrUpload where
// the list cannot be read any further, and the reader's error. It holds one address at a time, of which it keeps no more
// than keptBytes.
type parser func(r *bufio.Reader, found func(line int, address string) error) error

// keptBytes is more than any address can have: what is longer is no address, however it goes on.
const keptBytes = 1024

// parserOf answers the parser of a request's content type and its name; 415 for another type.
func parserOf(c echo.Context) (parser, string, error) {
	media, _, err := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType))
	switch {
	case err == nil && media == echo.MIMEApplicationJSON:
		return parseJSON, media, nil
	case err == nil && media == mimeCSV:
		return parseCSV, media, nil
	}
	return nil, "", echo.NewHTTPError(http.StatusUnsupportedMediaType,
		"Send a list with Content-Type: application/json, or a table with Content-Type: text/csv")
}

// upload is a request's body on disk.
type upload struct {
	*spool
	parse  parser
	digest []byte
}

// receive spools the body. It answers 415, or 413 for more than authentication.MaxUploadBytes, whatever the server's own
// limit is. The caller closes what it answers.
func receive(c echo.Context) (*upload, error) {
	parse, media, err := parserOf(c)
	if err != nil {
		return nil, err
	}
	s, err := newSpool()
	if err != nil {
		return nil, err
	}
	digest := sha256.New()
	digest.Write([]byte(media + "\x00")) // the same bytes read in another way are another upload
	n, err := io.Copy(io.MultiWriter(s, digest), io.LimitReader(c.Request().Body, authentication.MaxUploadBytes+1))
	if err == nil && n > authentication.MaxUploadBytes {
		err = &http.MaxBytesError{Limit: authentication.MaxUploadBytes}
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return &upload{spool: s, parse: parse, digest: digest.Sum(nil)}, nil
}

// Each implements authentication.Addresses.
func (u *upload) Each(found func(line int, address string) error) error {
	if _, err := u.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return u.parse(bufio.NewReaderSize(u.File, 32<<10), found)
}

// unusable is ErrUpload with what is wrong with the body.
func unusable(problem string) error {
	return authentication.ErrUpload.WithFields(map[string]string{"body": problem})
}

const maxKeyBytes = 200

// idempotencyKey answers the request's key, empty when there is none; ErrBody for one that is not printable ASCII.
func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	ok := len(values) == 1 && key != "" && len(key) <= maxKeyBytes
	for _, b := range []byte(key) {
		ok = ok && ' ' <= b && b <= '~'
	}
	if !ok {
		return "", authentication.ErrBody.WithFields(map[string]string{"Idempotency-Key": "must be 1 to 200 printable characters"})
	}
	return key, nil
}

// actorOf answers who asks.
func actorOf(c echo.Context) (authentication.Actor, error) {
	p, ok := httpserver.PrincipalOf(c)
	if !ok {
		return authentication.Actor{}, authentication.ErrUnauthenticated
	}
	return authentication.Actor{UserID: p.Subject, Admin: p.Role == string(authentication.RoleAdmin)}, nil
}

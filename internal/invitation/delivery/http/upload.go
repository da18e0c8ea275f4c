package http

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/invitation"
)

// keptBytes is more than any address can have: what is longer is no address, however it goes on.
const keptBytes = 1024

// parser calls fn with each address of a list and its line. It returns the first error of fn, ErrUpload where the list
// cannot be read any further, and the reader's error. It holds one address at a time, and no more of it than keptBytes.
type parser func(r *bufio.Reader, fn func(line int, address string) error) error

const typeCSV = "text/csv"

// parsers are by the content type of the request, or of the file in a form.
var parsers = map[string]parser{echo.MIMEApplicationJSON: parseJSON, typeCSV: parseCSV}

// upload is a request's body on disk. It implements [invitation.Addresses].
type upload struct {
	*spool
	parse  parser
	digest []byte
}

// receive spools the body. It returns 415, or 413 for more than invitation.MaxUploadBytes, whatever the server's own
// limit is. The caller closes the upload.
func receive(c echo.Context) (*upload, error) {
	sent := c.Request().Body
	media := listType(c.Request().Header.Get(echo.HeaderContentType), "")
	if media == echo.MIMEMultipartForm {
		file, err := fileOf(c.Request())
		if err != nil {
			return nil, err
		}
		sent, media = file, listType(file.Header.Get(echo.HeaderContentType), file.FileName())
	}
	parse, known := parsers[media]
	if !known {
		return nil, echo.NewHTTPError(http.StatusUnsupportedMediaType,
			"Send a list with Content-Type: application/json, or a table with Content-Type: text/csv")
	}
	s, err := newSpool()
	if err != nil {
		return nil, err
	}
	digest := sha256.New()
	digest.Write([]byte(media + "\x00")) // the same bytes read in another way are another upload
	n, err := io.Copy(io.MultiWriter(s, digest), io.LimitReader(sent, invitation.MaxUploadBytes+1))
	if err == nil && n > invitation.MaxUploadBytes {
		err = &http.MaxBytesError{Limit: invitation.MaxUploadBytes}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && sent != c.Request().Body {
		err = errNoFile // the form ends in the middle of the file
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return &upload{spool: s, parse: parse, digest: digest.Sum(nil)}, nil
}

// listType returns the media type of a list. Windows calls a CSV file after the program that opens it, and a browser may
// know a file by its name only.
func listType(header, fileName string) string {
	media, _, _ := mime.ParseMediaType(header)
	if _, known := parsers[media]; known {
		return media
	}
	switch strings.ToLower(filepath.Ext(fileName)) {
	case ".csv", ".txt":
		return typeCSV
	case ".json":
		return echo.MIMEApplicationJSON
	}
	switch media {
	case "application/vnd.ms-excel", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":
		return typeCSV // which says what to do with a spreadsheet
	}
	return media
}

// maxFields is how many fields a form may have in front of its file.
const maxFields = 10

var errNoFile = unusable("is not a form with one file; send the file as a field of multipart/form-data")

// fileOf returns the first file of a form. What follows it is not read.
func fileOf(r *http.Request) (*multipart.Part, error) {
	form, err := r.MultipartReader()
	if err != nil {
		return nil, errNoFile
	}
	for range maxFields + 1 {
		part, err := form.NextPart()
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, err
		}
		if err != nil {
			return nil, errNoFile
		}
		if part.FileName() != "" {
			return part, nil
		}
	}
	return nil, errNoFile
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

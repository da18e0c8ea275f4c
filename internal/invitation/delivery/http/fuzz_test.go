package http_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
	delivery "github.com/smap-platform/identity/internal/invitation/delivery/http"
	"github.com/smap-platform/identity/pkg/verbatim"
)

// whole runs a parser over text that comes at once.
func whole(p parser, text []byte) ([]foundLine, error) {
	all := []foundLine{}
	err := p(bufio.NewReaderSize(bytes.NewReader(text), 32<<10), func(line int, address string) error {
		all = append(all, foundLine{line, address})
		return nil
	})
	return all, err
}

// lists checks what holds of every list: the lines ascend, no more is kept of an address than may be, how the text arrives
// makes no difference, and a caller that has enough ends it.
func lists(t *testing.T, p parser, text []byte) ([]foundLine, error) {
	found, err := whole(p, text)
	if err != nil {
		require.ErrorIs(t, err, invitation.ErrUpload)
	}
	before := 0
	for _, f := range found {
		require.Greater(t, f.line, before)
		require.LessOrEqual(t, len([]rune(f.address)), delivery.KeptBytes)
		before = f.line
	}
	slowly, slowErr := readAll(p, string(text))
	require.Equal(t, found, slowly)
	require.Equal(t, err, slowErr)

	enough, calls := errors.New("enough"), 0
	err2 := p(bufio.NewReader(bytes.NewReader(text)), func(int, string) error {
		if calls++; calls == 2 {
			return enough
		}
		return nil
	})
	if len(found) >= 2 {
		require.Equal(t, enough, err2)
		require.Equal(t, 2, calls)
	}
	return found, err
}

func FuzzCSV(f *testing.F) {
	for _, seed := range []string{
		"", "email,name\r\na@x.vn,An\r\n", "a\nb\r\nc\rd\n", "\"a,\"\"b\"\"\",c\nd", "a,\"x\r\ny, \"\"z\n\",1\nb", "sep=;\r\nname;email\r\nAn;a@x.vn\r\n",
		"sep=;", "sep=", "\"a", "a\nb,\"x\nc\n", "\uFEFF\"a\"\n", utf16Text(binary.LittleEndian, "name\temail\nHoà 😀\ta@x.vn\r\n"),
		utf16Text(binary.BigEndian, "email\na@x.vn\n"), "\xff\xfea\x00\x00\xd8b\x00\n\x00c", "PK\x03\x04 …", "\x00a", "a\x00", "\xef\xbb", "\r\r\n\n\r",
		"\"\"\"\"\"\n", ",,,\n;;;\n\t\t", strings.Repeat("x", 2*delivery.KeptBytes) + "\nb", "name,email\n\"" + strings.Repeat("\"\"", 3000) + "\",a@x.vn\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		found, _ := lists(t, delivery.ParseCSV, text)
		breaks := bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r"))
		require.LessOrEqual(t, len(found), breaks+1, "a line has one address")
		if len(found) > 0 {
			require.LessOrEqual(t, found[len(found)-1].line, breaks+1)
		}
	})
}

func FuzzJSONList(f *testing.F) {
	for _, seed := range []string{
		" [ ] ", `["a@x.vn", "b"]`, `["\"a\\","\u0061\n","b]"]`, `[1, true ,null,-1.5e3]`, `["a"]["b"]`, `["a",]`, `[{"email":"a"}]`, `["a`, `["\ud800@x.vn"]`,
		`["\ud83d\ude00"]`, "[\"\xff\"]", `["\x"]`, "[\"a\nb\"]", `[nul]`, "[\"" + strings.Repeat("x", 2*delivery.KeptBytes) + `\"","b"]`,
		"[" + strings.Repeat("1", 2*delivery.KeptBytes) + "]", "[" + strings.Repeat(" ", 2*delivery.KeptBytes) + "1]", "\ufeff[]", `[""]`, "", "[\"a\"]\x00",
		`["` + strings.Repeat(`\u1234`, delivery.KeptBytes+1) + `"]`, "[\"" + strings.Repeat("x", 2*delivery.KeptBytes) + "\x00\"]",
		`["` + strings.Repeat("x", 2*delivery.KeptBytes) + `\u12g4\x"]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := lists(t, delivery.ParseJSON, text)
		var want []any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		wantErr := d.Decode(&want)
		simple := wantErr == nil && json.Valid(text) && want != nil && verbatim.JSON(text)
		for _, value := range want {
			switch v := value.(type) {
			case []any, map[string]any:
				simple = false
			case json.Number:
				simple = simple && len(v) <= delivery.KeptBytes
			}
		}
		require.Equal(t, simple, err == nil, "%v", wantErr)
		if err != nil {
			return
		}
		require.Len(t, found, len(want))
		for i, value := range want {
			address := fmt.Sprint(value)
			if value == nil {
				address = "null"
			}
			if runes := []rune(address); len(runes) <= delivery.KeptBytes/4 {
				require.Equal(t, foundLine{i + 1, address}, found[i])
			}
		}
	})
}

func FuzzIdempotencyKey(f *testing.F) {
	for _, seed := range []string{"", "upload-1", " ", "\x7f", "a\r\nb", "ạ", "\xff", strings.Repeat("k", 200), strings.Repeat("k", 201)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		none, err := delivery.IdempotencyKey(&http.Request{Header: http.Header{}})
		require.NoError(t, err)
		require.Empty(t, none)
		_, err = delivery.IdempotencyKey(&http.Request{Header: http.Header{"Idempotency-Key": {value, value}}})
		require.ErrorIs(t, err, invitation.ErrBody, "which of two counts is not said")
		key, err := delivery.IdempotencyKey(&http.Request{Header: http.Header{"Idempotency-Key": {value}}})
		if err != nil {
			require.ErrorIs(t, err, invitation.ErrBody)
			require.Empty(t, key)
			return
		}
		require.Equal(t, value, key, "a key counts as it was sent")
		require.Regexp(t, `^[ -~]{1,200}$`, key)
	})
}

// What reaches a parser is the file of a form, or the body.
func FuzzUpload(f *testing.F) {
	form := func(head, content string) string { return "--b\r\n" + head + "\r\n\r\n" + content + "\r\n--b--\r\n" }
	file := "Content-Disposition: form-data; name=\"f\"; filename=\"people.csv\""
	for _, seed := range [][2]string{
		{"text/csv", "email\na@x.vn\n"}, {"application/json; charset=utf-8", `["a@x.vn"]`}, {"multipart/form-data; boundary=b", form(file, "a@x.vn")},
		{"multipart/form-data; boundary=b", form(file+"\r\nContent-Type: application/json", `["a@x.vn"]`)}, {"multipart/form-data", "x"}, {"", "x"},
		{"multipart/form-data; boundary=b", form("Content-Disposition: form-data; name=\"f\"; filename=\"../../x.TXT\"\r\nContent-Transfer-Encoding: quoted-printable", "a=40x")},
		{"multipart/form-data; boundary=b", "--b\r\n" + file + "\r\n\r\na@x.vn"}, {"multipart/form-data; boundary=b", strings.Repeat("--b\r\nContent-Disposition: form-data\r\n\r\n\r\n", 20)},
		{"application/vnd.ms-excel", "a@x.vn"}, {"text/csv;;", "a"}, {"multipart/mixed; boundary=b", form(file, "a")},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		var first, second []byte
		found, err := receive(t, contentType, body, &first)
		again, errAgain := receive(t, contentType, body, &second)
		require.Equal(t, err, errAgain)
		require.Equal(t, found, again)
		require.Equal(t, first, second, "the same request is the same upload")
		if err == nil {
			require.Len(t, first, 32)
		}
	})
}

// receive sends a body, reads the list in it twice, and returns what is the same both times.
func receive(t *testing.T, contentType string, body []byte, digest *[]byte) (found []foundLine, err error) {
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set(echo.HeaderContentType, contentType)
	received := delivery.Receive(echo.New().NewContext(r, httptest.NewRecorder()), func(sent invitation.Addresses, sum []byte) {
		*digest = sum
		read := func() (all []foundLine, err error) {
			err = sent.Each(func(line int, address string) error {
				all = append(all, foundLine{line, address})
				return nil
			})
			return all, err
		}
		found, err = read()
		again, errAgain := read()
		require.Equal(t, found, again)
		require.Equal(t, err, errAgain)
	})
	return found, cmp.Or(received, err)
}

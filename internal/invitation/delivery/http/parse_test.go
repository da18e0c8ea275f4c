package http_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
	delivery "github.com/smap-platform/identity/internal/invitation/delivery/http"
	"github.com/smap-platform/identity/pkg/apperror"
)

type parser = func(r *bufio.Reader, fn func(line int, address string) error) error

type foundLine struct {
	line    int
	address string
}

// utf16Text returns text in UTF-16 with a byte order mark.
func utf16Text(order binary.ByteOrder, text string) string {
	var encoded bytes.Buffer
	_ = binary.Write(&encoded, order, utf16.Encode([]rune("\uFEFF"+text))) // to memory
	return encoded.String()
}

// readAll runs a parser over text that comes in small pieces.
func readAll(p parser, text string) ([]foundLine, error) {
	all := []foundLine{}
	err := p(bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(text)), 16), func(line int, address string) error {
		all = append(all, foundLine{line, address})
		return nil
	})
	return all, err
}

func TestParseCSV(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 2*delivery.KeptBytes)
	for name, tc := range map[string]struct {
		text string
		want []foundLine
	}{
		"empty":                      {"", nil},
		"one":                        {"a@x.vn", []foundLine{{1, "a@x.vn"}}},
		"line ends":                  {"a\nb\r\nc\rd\n", []foundLine{{1, "a"}, {2, "b"}, {3, "c"}, {4, "d"}}},
		"blank lines":                {"\n a \n\n \t\r\nb\n\n", []foundLine{{2, " a "}, {5, "b"}}},
		"columns":                    {"a,An,1\nb,,\nc\n", []foundLine{{1, "a"}, {2, "b"}, {3, "c"}}},
		"an empty first column":      {",An\nb\n", []foundLine{{1, ""}, {2, "b"}}},
		"a quoted empty one":         {"\"\"\nb", []foundLine{{1, ""}, {2, "b"}}},
		"header":                     {"Email,Name\na,An\n", []foundLine{{2, "a"}}},
		"header behind blank lines":  {"\n\"ADDRESS\"\na\n", []foundLine{{3, "a"}}},
		"a header only once":         {"email\nemail\n", []foundLine{{2, "email"}}},
		"a postal address before it": {"Name,Address,Email\nAn,Hanoi,a@example.com\n", []foundLine{{2, "a@example.com"}}},
		"no header later":            {"a\naddress\n", []foundLine{{1, "a"}, {2, "address"}}},
		"byte order mark":            {"\uFEFFemail\na\n", []foundLine{{2, "a"}}},
		"byte order mark, quoted":    {"\uFEFF\"a\"\n", []foundLine{{1, "a"}}},
		"quoted":                     {"\"a\",b\n\"c\"", []foundLine{{1, "a"}, {2, "c"}}},
		"quotes and commas in it":    {"\"a,\"\"b\"\"\",c\nd", []foundLine{{1, `a,"b"`}, {2, "d"}}},
		"a quote inside":             {"a\"b,c\nd", []foundLine{{1, `a"b`}, {2, "d"}}},
		"text behind the quote":      {"\"a\"b,c\nd", []foundLine{{1, `a"b,c`}, {2, "d"}}},
		"not closed":                 {"\"a\nb\n\"c", []foundLine{{1, "a"}, {2, "b"}, {3, "c"}}},
		"breaks in another column":   {"a,\"x\r\ny, \"\"z\n\",1\nb", []foundLine{{1, "a"}, {4, "b"}}},
		"a quote in another column":  {"a,5\" pipe\nb", []foundLine{{1, "a"}, {2, "b"}}},
		"long":                       {long + ",x\nb", []foundLine{{1, long[:delivery.KeptBytes]}, {2, "b"}}},
		"long and quoted":            {"\"" + long + "\"\nb", []foundLine{{1, long[:delivery.KeptBytes]}, {2, "b"}}},
		"spaces behind the quote":    {"\"a\"  ,b\n\"c\" \nd", []foundLine{{1, "a"}, {2, "c"}, {3, "d"}}},
		"text behind those spaces":   {"a,\"x\" \"y\nb", []foundLine{{1, "a"}, {2, "b"}}},
		"not closed, with a comma":   {"\"a,x\nb", []foundLine{{1, "a,x"}, {2, "b"}}},
		"an open quote behind text":  {"\"a\"b,\"x\n\"\nc", []foundLine{{1, `a"b,"x`}, {3, "c"}}},
		"a doubled quote at a break": {"a,\"x\"\"\ny\"\nb", []foundLine{{1, "a"}, {3, "b"}}},
		"a long other column":        {"a," + long + "\nb", []foundLine{{1, "a"}, {2, "b"}}},
		"a zero byte":                {"ab\x00c\nd", []foundLine{{1, "ab\x00c"}, {2, "d"}}},
		"not UTF-8":                  {"a\xff\nb", []foundLine{{1, "a\xff"}, {2, "b"}}},
		"semicolons":                 {"email;name\na@x.vn;An, Ha Noi\n", []foundLine{{2, "a@x.vn"}}},
		"tabs":                       {"name\temail\nAn\ta@x.vn\n", []foundLine{{2, "a@x.vn"}}},
		"without a header":           {"a@x.vn;An\nb@x.vn;\n", []foundLine{{1, "a@x.vn"}, {2, "b@x.vn"}}},
		"Excel says what separates":  {"sep=;\r\nname;email\r\nAn;a@x.vn\r\n", []foundLine{{3, "a@x.vn"}}},
		"name, email":                {"Name,E-Mail\n\"An,\nHa Noi\",a@x.vn\n,\nHoa\nLan,b@x.vn\n", []foundLine{{2, "a@x.vn"}, {5, ""}, {6, "b@x.vn"}}},
		"a wide column before it":    {"name,email\n" + long + ",a@x.vn\n", []foundLine{{2, "a@x.vn"}}},
		"UTF-16, little endian":      {utf16Text(binary.LittleEndian, "name\temail\nHoà 😀\ta@x.vn\r\n"), []foundLine{{2, "a@x.vn"}}},
		"UTF-16, big endian":         {utf16Text(binary.BigEndian, "email\na@x.vn\n"), []foundLine{{2, "a@x.vn"}}},
		"UTF-16 with half a pair":    {"\xff\xfea\x00\x00\xd8b\x00\n\x00c", []foundLine{{1, "a\xffb"}, {2, "\xff"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := readAll(delivery.ParseCSV, tc.text)
			require.NoError(t, err)
			if tc.want == nil {
				tc.want = []foundLine{}
			}
			require.Equal(t, tc.want, got)
		})
	}
	for name, text := range map[string]string{
		"UTF-16 without a mark": utf16Text(binary.LittleEndian, "email\na@x.vn\n")[2:], "UTF-32": "\xff\xfe\x00\x00a\x00\x00\x00",
		"a workbook": "PK\x03\x04 …", "an old workbook": "\xd0\xcf\x11\xe0 …",
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			t.Parallel()
			_, err := readAll(delivery.ParseCSV, text)
			require.ErrorIs(t, err, invitation.ErrUpload)
		})
	}
	t.Run("a quote in another column that is never closed", func(t *testing.T) {
		t.Parallel()
		got, err := readAll(delivery.ParseCSV, "a\nb,\"x\nc\n")
		require.ErrorIs(t, err, invitation.ErrUpload, "what stands behind such a quote is nobody's guess")
		require.Equal(t, map[string]string{"body": "has a quote in line 2 that is not closed"}, apperror.From(err).Fields)
		require.Equal(t, []foundLine{{1, "a"}}, got)
	})
}

func TestParseJSON(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 2*delivery.KeptBytes)
	for name, tc := range map[string]struct {
		text string
		want []foundLine
	}{
		"empty":           {" [ ] ", nil},
		"one":             {`["a@x.vn"]`, []foundLine{{1, "a@x.vn"}}},
		"white space":     {" [\r\n\t\"a\" ,\"b\"\n]\n", []foundLine{{1, "a"}, {2, "b"}}},
		"escapes":         {`["\"a\\","\u0061\n","b]"]`, []foundLine{{1, `"a\`}, {2, "a\n"}, {3, "b]"}}},
		"an empty string": {`["","b"]`, []foundLine{{1, ""}, {2, "b"}}},
		"other values":    {`[1, true ,null,-1.5e3]`, []foundLine{{1, "1"}, {2, "true"}, {3, "null"}, {4, "-1.5e3"}}},
		"long":            {`["` + long + `","b"]`, []foundLine{{1, long[:delivery.KeptBytes]}, {2, "b"}}},
		"long, of escapes": {`["` + strings.Repeat(`\u1234`, 2*delivery.KeptBytes) + `","b"]`,
			[]foundLine{{1, strings.Repeat("\u1234", delivery.KeptBytes)}, {2, "b"}}},
		"long, of escaped quotes": {`["` + strings.Repeat(`\"`, 2*delivery.KeptBytes) + `","b"]`,
			[]foundLine{{1, strings.Repeat(`"`, delivery.KeptBytes)}, {2, "b"}}},
		"escapes that end a string":        {`["\\","\u005c\"]"]`, []foundLine{{1, `\`}, {2, `\"]`}}},
		"long, ends with an escaped quote": {`["` + long + `\"","b"]`, []foundLine{{1, long[:delivery.KeptBytes]}, {2, "b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := readAll(delivery.ParseJSON, tc.text)
			require.NoError(t, err)
			if tc.want == nil {
				tc.want = []foundLine{}
			}
			require.Equal(t, tc.want, got)
		})
	}
	for name, text := range map[string]string{
		"nothing": "", "white space": " ", "no list": `"a"`, "an object": `{"a":1}`, "not closed": `["a"`, "only opened": "[",
		"no comma": `["a" "b"]`, "comma at the end": `["a",]`, "comma at the start": `[,"a"]`, "two lists": `["a"]["b"]`,
		"text behind": `["a"] x`, "string not closed": `["a`, "a list in it": `[["a"]]`, "an object in it": `[{"email":"a"}]`,
		"no JSON value": `[nul]`, "bare word": `[a@x.vn]`, "a control character": "[\"a\nb\"]", "a bad escape": `["\x"]`,
		"a long number": "[" + strings.Repeat("1", 2*delivery.KeptBytes) + "]", "comma and end": `["a",`,
		"Latin-1": "[\"b\xe4r@x.vn\"]", "a bad escape where nothing is kept": `["` + long + `\x"]`,
		"a control character where nothing is kept": "[\"" + long + "\n\"]", "one byte of nothing": "[\"an\xff@x.vn\"]", "half of a pair": `["\ud800@x.vn"]`, "Latin-1 where nothing is kept": `["` + long + "\xe4\"]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readAll(delivery.ParseJSON, text)
			require.ErrorIs(t, err, invitation.ErrUpload)
		})
	}
}

func TestParsers(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is broken")
	for name, tc := range map[string]struct {
		parse parser
		text  string
	}{
		"JSON":              {delivery.ParseJSON, `["a", "b", 1`},
		"JSON, in a string": {delivery.ParseJSON, `["a`},
		"JSON, before":      {delivery.ParseJSON, ``},
		"JSON, behind":      {delivery.ParseJSON, `["a"`},
		"CSV":               {delivery.ParseCSV, "a\nb,\"x"},
		"CSV, quoted":       {delivery.ParseCSV, "\"a"},
		"CSV, before":       {delivery.ParseCSV, ""},
		"CSV, in a field":   {delivery.ParseCSV, "a"},
	} {
		t.Run("return the reader's error: "+name, func(t *testing.T) {
			t.Parallel()
			r := bufio.NewReader(io.MultiReader(strings.NewReader(tc.text), iotest.ErrReader(broken)))
			require.ErrorIs(t, tc.parse(r, func(int, string) error { return nil }), broken)
		})
	}
	refused := errors.New("refused")
	for name, tc := range map[string]struct {
		parse parser
		text  string
	}{"JSON": {delivery.ParseJSON, `["a","b"]`}, "CSV": {delivery.ParseCSV, "a\nb\n"}} {
		t.Run("stop at the caller's error: "+name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			err := tc.parse(bufio.NewReader(strings.NewReader(tc.text)), func(int, string) error {
				calls++
				return refused
			})
			require.Equal(t, refused, err)
			require.Equal(t, 1, calls)
		})
	}
}

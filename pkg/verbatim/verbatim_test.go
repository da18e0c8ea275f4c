package verbatim_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/verbatim"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"ASCII":                    {`{"a":"b"}`, true},
		"umlauts":                  {`{"a":"ä"}`, true},
		"an emoji":                 {`"😀"`, true},
		"an escaped emoji":         {`"\ud83d\ude00"`, true},
		"in capitals":              {`"\uD83D\uDE00"`, true},
		"two of them":              {`"\ud83d\ude00\ud83d\ude00"`, true},
		"other escapes":            {`"\n\t\\\"\/\u0000\uffff\ufffd"`, true},
		"U+FFFD itself":            {"\"\ufffd\"", true},
		"an escaped backslash":     {`"\\ud800"`, true},
		"Latin-1":                  {"\"p\xe4ssword1\"", false},
		"a lone continuation":      {"\"\x80\"", false},
		"a cut rune":               {"\"\xe2\x82\"", false},
		"an overlong slash":        {"\"\xc0\xaf\"", false},
		"an encoded surrogate":     {"\"\xed\xa0\x80\"", false},
		"beyond Unicode":           {"\"\xf4\x90\x80\x80\"", false},
		"a first half alone":       {`"\ud800"`, false},
		"a second half alone":      {`"\udc00"`, false},
		"two first halves":         {`"\ud800\ud800\udc00"`, false},
		"a first half and a text":  {`"\ud800aaaaaaa"`, false},
		"a first half and a break": {`"\ud800\n"`, false},
		"halves in turn":           {`"\udc00\ud800"`, false},
		"halves of two strings":    {`["\ud800","\udc00"]`, false},
		"behind a backslash":       {`"\\\ud800"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, verbatim.JSON([]byte(c.text)))
		})
	}
}

// A decoder replaces something exactly when a text that has no U+FFFD of its own gets one.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`"a"`, `"\ud83d\ude00"`, `"\ud800"`, "\"\xed\xa0\x80\"", "\"\xf0\x9f\x98\x80\"", `"\ud800\u0041"`, "\"\xe4\"", `"\\ud800"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var decoded string
		if json.Unmarshal(text, &decoded) != nil || bytes.Contains(text, []byte("\ufffd")) || bytes.Contains(bytes.ToLower(text), []byte(`\ufffd`)) {
			return // not a string in JSON, or one that has U+FFFD itself
		}
		require.Equal(t, !strings.ContainsRune(decoded, utf8.RuneError), verbatim.JSON(text))
	})
}

func BenchmarkJSON(b *testing.B) {
	body := []byte(`{"event_id":"evt_1","payload":{"data":{"text":"` + strings.Repeat("text ", 60) + `"}}}`)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		verbatim.JSON(body)
	}
}

package terminal

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestEscape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"evt_1":             "evt_1",
		"Nguyễn 日本 \ufffd":  "Nguyễn 日本 \ufffd",
		"a\x1b[31mb":        `a\u001b[31mb`,
		"a\nb\r\tc":         `a\u000ab\u000d\u0009c`,
		"a\x00\x7f":         `a\u0000\u007f`,
		"\u009b31m":         `\u009b31m`,
		"a\u202eb\u200b":    `a\u202eb\u200b`,
		"a\xff\xfeb":        `a\xff\xfeb`,
		"tag \U000e0041":    `tag \U000e0041`,
		"\xed\xa0\x80 \xc3": `\xed\xa0\x80 \xc3`,
		"line \u2028 ends":  `line \u2028 ends`,
	} {
		require.Equal(t, want, Escape(in))
	}
	require.Equal(t, "a\n"+`b\u001b`, EscapeLines("a\nb\x1b"))
}

func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"An Nguyễn", "\x1b[31m", "a\r\nb", "\u202e", "\xff\xfe", "\ufffd", "\U000e0001", "\u009b31m", "\x7f\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		escaped := Escape(text)
		require.True(t, utf8.ValidString(escaped))
		require.False(t, strings.ContainsFunc(escaped, func(r rune) bool { return !unicode.IsPrint(r) && r != utf8.RuneError }))
		require.Equal(t, escaped, Escape(escaped))
		require.Equal(t, escaped, strings.ReplaceAll(EscapeLines(text), "\n", `\u000a`))
	})
}

package authentication

import (
	_ "embed"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Limits of a new password, in characters. NIST SP 800-63B-4 asks for 15 where a password is the only factor, as here; the
// front end's users have 8. The upper bound keeps hashing cheap and is well above the 64 that OWASP asks for.
const (
	MinPasswordChars = 8
	MaxPasswordChars = 128
)

// product is what this service's users think of first.
const product = "smap"

//go:embed common_passwords.txt
var commonText string

// common has the passwords that everybody tries first, in lower case; common_passwords.NOTICE.md says where it is from.
var common = sync.OnceValue(func() map[string]bool {
	words := strings.Fields(commonText)
	set := make(map[string]bool, len(words))
	for _, w := range words {
		set[w] = true
	}
	return set
})

// CheckPassword returns [ErrBody] with the field's problem when a new password is too short, too long, or what anybody would
// guess for a user with this address: a common one, one character again and again, the address or what is before its @, the
// product's name, with or without digits and signs around them. Case does not matter.
func CheckPassword(password, email string) error {
	var problem string
	switch chars := utf8.RuneCountInString(password); {
	case chars < MinPasswordChars:
		problem = "must have at least 8 characters"
	case chars > MaxPasswordChars:
		problem = "must have at most 128 characters"
	case guessed(strings.ToLower(password), strings.ToLower(strings.TrimSpace(email))):
		problem = "is too easy to guess; choose another, such as several words"
	default:
		return nil
	}
	return ErrBody.WithFields(map[string]string{"password": problem})
}

// guessed takes both in lower case.
func guessed(password, email string) bool {
	first, _ := utf8.DecodeRuneInString(password)
	same := strings.Trim(password, string(first)) == ""
	core := strings.TrimFunc(password, func(r rune) bool { return !unicode.IsLetter(r) })
	local, _, _ := strings.Cut(email, "@")
	return same || common()[password] || core == product || strings.ReplaceAll(core, product, "") == "" && core != "" ||
		email != "" && (password == email || password == local || core == email || len(local) > 2 && core == local)
}

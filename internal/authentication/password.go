package authentication

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of a new password, in characters. NIST SP 800-63B-4 asks for 15 where a password is the only factor, as here; the
// front end's users have 8. The upper bound keeps hashing cheap and is well above the 64 that OWASP asks for.
const (
	MinPasswordChars = 8
	MaxPasswordChars = 128
)

// PasswordRules decide which new passwords can be used. The zero value asks for [MinPasswordChars].
type PasswordRules struct {
	MinChars int // [MinPasswordChars] when it is less
}

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

// Check returns [ErrBody] with the problem of the field password, if it has one; see [PasswordRules.CheckField].
func (r PasswordRules) Check(password, email string) error {
	return r.CheckField("password", password, email)
}

// CheckField returns [ErrBody] with the field's problem when a new password is too short, too long, or what anybody would
// guess for a user with this address: a common one, a few characters again and again, an alphabet, the address, what is
// before its @, or the product's name. Digits and signs beside such a name make no difference, nor do case and how
// characters are composed.
func (r PasswordRules) CheckField(field, password, email string) error {
	var problem string
	least := max(r.MinChars, MinPasswordChars)
	switch chars := utf8.RuneCountInString(norm.NFC.String(password)); {
	case chars < least:
		problem = fmt.Sprintf("must have at least %d characters", least)
	case chars > MaxPasswordChars:
		problem = fmt.Sprintf("must have at most %d characters", MaxPasswordChars)
	case guessed(fold(password), fold(strings.TrimSpace(email))):
		problem = "is too easy to guess; choose another, such as several words"
	default:
		return nil
	}
	return ErrBody.WithFields(map[string]string{field: problem})
}

// fold returns s without what a guess need not get right: case, width, composition.
func fold(s string) string { return strings.ToLower(norm.NFKC.String(s)) }

// guessed takes both folded.
func guessed(password, email string) bool {
	local, _, _ := strings.Cut(email, "@")
	untagged, _, _ := strings.Cut(local, "+")
	return common()[password] || regular([]rune(password)) ||
		slices.ContainsFunc([]string{product, email, local, untagged}, func(name string) bool {
			return madeOf(password, name)
		})
}

// maxPeriod is how many characters a password may not just repeat.
const maxPeriod = 4

// regular reports whether up to 4 characters are repeated, or each is the next or the previous one of the alphabet.
func regular(password []rune) bool {
	for period := 1; period <= maxPeriod && period < len(password); period++ {
		if slices.Equal(password[period:], password[:len(password)-period]) {
			return true
		}
	}
	step := password[1] - password[0] // Check has counted them
	for i := 2; i < len(password); i++ {
		if password[i]-password[i-1] != step {
			return false
		}
	}
	return step == 1 || step == -1
}

// madeOf reports whether the password is the name, once or several times, with signs or with signs and digits between.
// Names of one or two letters are in many passwords.
func madeOf(password, name string) bool {
	letterOrDigit := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	for _, keep := range []func(rune) bool{letterOrDigit, unicode.IsLetter} {
		only := func(s string) string {
			return strings.Map(func(r rune) rune {
				if keep(r) {
					return r
				}
				return -1
			}, s)
		}
		kept, core := only(password), only(name)
		if len(core) > 2 && kept != "" && strings.ReplaceAll(kept, core, "") == "" {
			return true
		}
	}
	return password == name
}

package authentication

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Actor is who changes something: the user who makes a request, with the role that the database has now, or [Operator].
type Actor struct {
	UserID string // empty: an operator
	Admin  bool
}

// Operator is the actor of the command line, who has the database anyway.
var Operator = Actor{Admin: true}

// UserFilter selects users.
type UserFilter struct {
	IDs    []string // none: all users
	Limit  int
	Offset int
}

// Profile is what users say of themselves. A field that is nil stays as it is, an empty one is removed.
type Profile struct {
	FullName  *string
	AvatarURL *string
}

// The limits of a profile are those of the columns, in characters.
const (
	maxFullName  = 100
	maxAvatarURL = 255
)

// Changes returns what p changes of u, without the spaces around it. It returns [ErrProfile] with the problem of every
// field that cannot be used.
func (p Profile) Changes(u User) (Profile, error) {
	p = Profile{FullName: change(u.FullName, p.FullName), AvatarURL: change(u.AvatarURL, p.AvatarURL)}
	problems := map[string]string{}
	switch name := p.FullName; {
	case name == nil:
	case utf8.RuneCountInString(*name) > maxFullName:
		problems["full_name"] = "must have at most 100 characters"
	case strings.ContainsFunc(*name, unicode.IsControl):
		problems["full_name"] = "must not have control characters"
	}
	switch avatar := p.AvatarURL; {
	case avatar == nil, *avatar == "":
	case utf8.RuneCountInString(*avatar) > maxAvatarURL:
		problems["avatar_url"] = "must have at most 255 characters"
	case !isWebURL(*avatar):
		problems["avatar_url"] = "must be an http or https URL"
	}
	if len(problems) > 0 {
		return Profile{}, ErrProfile.WithFields(problems)
	}
	return p, nil
}

// change returns nil when a field stays as it is.
func change(from string, to *string) *string {
	if to == nil || *to == from {
		return nil
	}
	trimmed := strings.TrimSpace(*to)
	return &trimmed
}

// isWebURL reports whether a page can show s as an image: other schemes, as in "javascript:…", could do anything there.
func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

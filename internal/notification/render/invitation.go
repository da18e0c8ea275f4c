package render

import "time"

// invitation is a mail that makes its reader a user.
const invitation = "invitation"

var invitationParts = []string{
	"subject", "preheader", "heading", "intro", "action", "paste", "validity", "warning", "ignore", "footer",
}

// Invitation is what the mail of an invitation says.
type Invitation struct {
	Token string // shown where there is no Link
	Link  string // http or https: the page where the token is accepted; empty: there is none
	// ExpiresAt is shown as the minute, in UTC, up to which the invitation certainly works.
	ExpiresAt time.Time
}

// Invitation is the mail of an invitation. Any locale but "vi" gives English.
func (r *Renderer) Invitation(locale string, i Invitation) (Rendered, error) {
	view, err := r.words(invitation, locale, invitationParts, struct {
		Link  string
		Until time.Time
	}{i.Link, i.ExpiresAt.UTC()})
	if err != nil {
		return Rendered{}, err
	}
	view["token"], view["link"] = i.Token, i.Link
	return r.invitation.fill(view)
}

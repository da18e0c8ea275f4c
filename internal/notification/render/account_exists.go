package render

import "github.com/smap-platform/identity/internal/notification"

// accountExists is the notice that an address which has an account was registered.
const accountExists = "account_exists"

// AccountExists returns the notice to the owner of an account whose address was registered once more. It says neither when
// nor from where: that is not theirs.
func (r *Renderer) AccountExists(locale string) (notification.Content, error) {
	return r.render(accountExists, locale, nil, nil)
}

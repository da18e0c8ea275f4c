package authentication

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// Rules of code requests.
const (
	// RequestLive is how long a request holds its place after its last code.
	RequestLive = 30 * time.Minute
	// RequestKept is how long after its last code a request is kept, unless newer ones push it out: so long its
	// password is remembered.
	RequestKept = 7 * 24 * time.Hour
	// MaxRequests is how many requests an address has for one purpose, MaxRequestsPerNetwork how many of them one
	// network can have.
	MaxRequests           = 5
	MaxRequestsPerNetwork = 2
)

// CodeRequest is one request for one-time codes, with the newest of them: a person at a browser says that an address is
// theirs. Requests for one address know nothing of each other; the code of one never proves another. An address that
// needs no proof has requests all the same, or their absence would tell that it has an account: their codes are mailed to
// nobody.
type CodeRequest struct {
	ID           string
	Purpose      Purpose
	Email        string // as it was typed; compared whatever the case of letters
	UserID       string // whom its mail names; empty where there was no user
	Locale       string // what the user is written to in once the address is proved
	Network      string // of the client; empty when not known
	PasswordHash string // what the user's password becomes; empty where none was chosen
	PasswordTag  uint16 // finds the request of a password; see [CodeKey.PasswordTag]
	CreatedAt    time.Time
	Code         Code
}

// Live reports whether the request holds its place.
func (r *CodeRequest) Live(now time.Time) bool { return now.Sub(r.Code.CreatedAt) < RequestLive }

// MakeRoom returns those of the requests of one address and purpose that a new one from network pushes out: of its own
// network the oldest beyond [MaxRequestsPerNetwork], live or not, and of the others those that no longer hold their
// place, as long as there are [MaxRequests]. A network that is in known has logged in to the account: it can push out the
// oldest of those that have not. MakeRoom returns an error that says when there is room again.
//
// Clients without an address have nothing in common: none pushes out what another holds.
func MakeRoom(requests []CodeRequest, network string, known []string, now time.Time) (out []CodeRequest, err error) {
	byAge := slices.SortedFunc(slices.Values(requests), func(a, b CodeRequest) int {
		return cmp.Or(a.Code.CreatedAt.Compare(b.Code.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	var own, dead, strangers, held []CodeRequest
	for _, r := range byAge {
		switch {
		case r.Network == network && network != "":
			own = append(own, r)
		case !r.Live(now):
			dead = append(dead, r)
		case slices.Contains(known, network) && !slices.Contains(known, r.Network):
			strangers = append(strangers, r)
		default:
			held = append(held, r)
		}
	}
	surplus := max(0, len(own)-MaxRequestsPerNetwork+1)
	out = own[:surplus]
	for room := slices.Concat(dead, own[surplus:], strangers); len(requests)-len(out) >= MaxRequests; room = room[1:] {
		if len(room) == 0 {
			return nil, TryAgainIn(RequestLive - now.Sub(held[0].Code.CreatedAt))
		}
		out = append(out, room[0])
	}
	return out, nil
}

// TryDigits tries digits on the requests of one browser, of which the newest comes first. It returns the request they
// prove, whose code it marks used, or the refusal of the newest: ErrWrongCode, ErrTooManyTries or ErrCodeExpired; a wrong
// try counts for each code that could still be used. ErrAlreadyVerified means that the same digits have proved one of
// the requests before, and [ErrOtherBrowser] that there is none; both cost no try. The caller stores all requests.
func (k CodeKeys) TryDigits(requests []CodeRequest, digits string, now time.Time) (proved *CodeRequest, refusal error) {
	if len(requests) == 0 {
		return nil, ErrOtherBrowser
	}
	refusals := make([]error, len(requests))
	for i := range requests {
		r := &requests[i]
		refusals[i] = r.Code.try(k.made(r, digits), now)
		if refusals[i] == nil {
			return r, nil
		}
	}
	if i := slices.Index(refusals, error(ErrAlreadyVerified)); i >= 0 {
		return nil, refusals[i]
	}
	for i := range requests {
		if requests[i].Code.UsedAt.IsZero() && errors.Is(refusals[i], ErrWrongCode) {
			requests[i].Code.WrongTries++
		}
	}
	return nil, refusals[0]
}

// made reports whether one of the keys has made the code of r from digits. It compares in constant time.
func (k CodeKeys) made(r *CodeRequest, digits string) (right bool) {
	for _, key := range k {
		right = hmac.Equal(CodeKey(key).Digest(r.Purpose, r.ID, digits), r.Code.Digest) || right
	}
	return right
}

// PasswordTags returns the [CodeKey.PasswordTag] of each key. The first is stored.
func (k CodeKeys) PasswordTags(email, password string) []uint16 {
	tags := make([]uint16, len(k))
	for i, key := range k {
		tags[i] = CodeKey(key).PasswordTag(email, password)
	}
	return tags
}

// PasswordTag returns 16 bits of a keyed digest of a password that was typed for an address. It finds the request that a
// password belongs to without hashing the password once per request, which would tell how many there are. 16 bits with a
// key that is not in the database say next to nothing about the password; its hash decides. How its characters are composed
// makes no difference.
func (k CodeKey) PasswordTag(email, password string) uint16 {
	mac := hmac.New(sha256.New, k)
	fmt.Fprintf(mac, "password tag\x00%s\x00%s", strings.ToLower(email), norm.NFC.String(password))
	return binary.BigEndian.Uint16(mac.Sum(nil))
}

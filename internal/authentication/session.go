package authentication

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Session is what proving who one is opens for a browser. Its tokens are worth something while it lives.
type Session struct {
	ID         string // uuid v7, the `sid` of its tokens
	UserID     string
	Remember   bool
	Device     string // what the client calls itself; empty when it did not say
	UserAgent  string
	IP         string // empty when not known
	Network    string // see [Client.Network]
	CreatedAt  time.Time
	LastSeenAt time.Time // written once a minute at most
	ExpiresAt  time.Time // it ends then at the latest
	NewestIAT  time.Time // when the newest of its tokens that has been presented was issued
	EndedAt    time.Time // zero while nobody has ended it
}

const (
	// SeenEvery is how often LastSeenAt is written at most.
	SeenEvery = time.Minute
	// longestToken bounds the life of a token: the other services take it for so long, whatever becomes of its session.
	longestToken = 24 * time.Hour
	// longestIdle bounds a session without `remember`, however often it is used.
	longestIdle = 24 * time.Hour

	maxDevice    = 100 // characters
	maxUserAgent = 400
)

// SessionPolicy is how long sessions last.
type SessionPolicy struct {
	Idle     time.Duration // without `remember`: from the last use
	Remember time.Duration // with it: from the login
}

// Open returns a session of the user that begins now.
func (p SessionPolicy) Open(id, userID string, remember bool, c Client, now time.Time) Session {
	expires := now.Add(longestIdle)
	if remember {
		expires = now.Add(p.Remember)
	}
	ip := ""
	if c.IP.IsValid() {
		ip = c.IP.String()
	}
	return Session{
		ID:         id,
		UserID:     userID,
		Remember:   remember,
		Device:     printable(c.Device, maxDevice),
		UserAgent:  printable(c.UserAgent, maxUserAgent),
		IP:         ip,
		Network:    c.Network(),
		CreatedAt:  now,
		LastSeenAt: now,
		ExpiresAt:  expires,
		NewestIAT:  now.Truncate(time.Second),
	}
}

// Living reports whether the session's tokens are worth something. Without `remember` it lives a minute longer: by so much
// its last use may be younger than LastSeenAt says.
func (p SessionPolicy) Living(s Session, now time.Time) bool {
	if !s.EndedAt.IsZero() || !now.Before(s.ExpiresAt) {
		return false
	}
	return s.Remember || now.Before(s.LastSeenAt.Add(p.Idle+SeenEvery))
}

// Left returns how long a session that is used now lasts unless it is used again.
func (p SessionPolicy) Left(s Session, now time.Time) time.Duration {
	left := s.ExpiresAt.Sub(now)
	if s.Remember {
		return left
	}
	return min(left, p.Idle)
}

// TokenLife returns how long a token lives that is issued now: no longer than the session can.
func (p SessionPolicy) TokenLife(s Session, now time.Time) time.Duration {
	life := p.Idle
	if s.Remember {
		life = p.Remember
	}
	return min(life, longestToken, s.ExpiresAt.Sub(now))
}

// Unseen reports whether the use of a token at now is to be stored: the last one is a minute old, or the token is newer
// than all that have been presented.
func (s *Session) Unseen(now, issuedAt time.Time) bool {
	return now.Sub(s.LastSeenAt) >= SeenEvery || issuedAt.After(s.NewestIAT)
}

// Reused reports whether a token is expired and older than one that has been presented. Its browser has the newer one, so
// it is a copy that comes back.
func (s *Session) Reused(c Claims, now time.Time) bool {
	return !now.Before(c.ExpiresAt) && c.IssuedAt.Before(s.NewestIAT)
}

// Identity is who makes a request: the user as stored now, and the session whose token came along.
type Identity struct {
	User    User
	Session Session // zero for a token without one
	// Stale reports whether the token is to be replaced where that is possible.
	Stale bool
}

// Claims are the content of a token that bears our signature.
type Claims struct {
	UserID    string
	SessionID string // empty: a token of the previous release, or of ours before there were sessions
	Email     string
	Role      Role
	ID        string    // `jti`
	Ours      bool      // it names this service as its issuer
	IssuedAt  time.Time // whole seconds; zero when the token does not say
	ExpiresAt time.Time
}

// Stale reports whether a token has lived half of its life, or says something else of the user than their row.
func (c *Claims) Stale(u User, now time.Time) bool {
	half := c.IssuedAt.Add(c.ExpiresAt.Sub(c.IssuedAt) / 2)
	return !now.Before(half) || c.Role != u.Role || c.Email != u.Email
}

// printable returns text that can be stored and shown: valid, without control characters, trimmed, of at most n
// characters.
func printable(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError, !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, text)
	if runes := []rune(strings.TrimSpace(text)); len(runes) > n {
		return strings.TrimSpace(string(runes[:n]))
	}
	return strings.TrimSpace(text)
}

package authentication

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/smap-platform/identity/pkg/apperror"
)

// Limits of what can be tried for one address. None of them can be filled at the cost of another network, but for the
// most generous ones.
const (
	LoginTries      = 10               // wrong passwords in a row from one network,
	LoginPause      = 15 * time.Minute // which then has to wait
	StrangerTries   = 100              // wrong passwords in a row from all networks that are not known;
	StrangerPerHour = 10               // then these have so many an hour, together
	SendsPerHour    = 5                // codes for one network
	SendsPerDay     = 10               // codes for one network,
	SendsGuessed    = 3                // or so many for one that is not known
	CodeTries       = 100              // after this many wrong codes in a row
	SendsFromAll    = 30               // codes a day for all networks
	// NetworkKnown is how long a network that an account has logged in from is known.
	NetworkKnown = 30 * 24 * time.Hour
	// LimitKept is how long a row without a try is kept, unless it makes a network known.
	LimitKept = 24 * time.Hour
)

// sendGaps are the times between codes for one network: after the first, the second, and so on. Within the first, a person
// who asks again is told that a code is on its way.
var sendGaps = []time.Duration{ResendInterval, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute}

// LimitKind is what a [Limit] counts.
type LimitKind string

// The kinds.
const (
	LimitLogin LimitKind = "login" // wrong passwords; with network "" of all networks that are not known
	LimitKnown LimitKind = "known" // nothing: the network has logged in
	LimitSend  LimitKind = "send"  // codes that prove an address
	LimitReset LimitKind = "reset" // codes that set a new password
	LimitCode  LimitKind = "code"  // wrong codes
)

// LimitKey names one limit of an address.
type LimitKey struct {
	Kind    LimitKind
	Network string // "": of all networks
}

// Limit is what has been tried. The zero value: nothing yet.
type Limit struct {
	Count     int // in a row
	LastAt    time.Time
	Hour, Day Window
	Refused   bool // since then, and that has been recorded
}

// Window counts from its start on.
type Window struct {
	Start time.Time
	Count int
}

// merge returns the window of everything that two have counted. It ends no sooner than either.
func (w Window) merge(o Window, length time.Duration) Window {
	if o.Start.After(w.Start) {
		w, o = o, w
	}
	if w.Start.Sub(o.Start) < length {
		w.Count += o.Count
	}
	return w
}

// at returns the window that now is in, of this length.
func (w Window) at(now time.Time, length time.Duration) Window {
	if now.Sub(w.Start) >= length {
		return Window{Start: now}
	}
	return w
}

// Add counts one try.
func (l *Limit) Add(now time.Time) {
	l.Hour, l.Day = l.Hour.at(now, time.Hour), l.Day.at(now, 24*time.Hour)
	l.Count++
	l.Refused = false
	l.Hour.Count++
	l.Day.Count++
	l.LastAt = now
}

// Undo takes one try back.
func (l *Limit) Undo() {
	for _, count := range []*int{&l.Count, &l.Hour.Count, &l.Day.Count} {
		*count = max(0, *count-1)
	}
}

// Merge returns the limit of everything that two have counted, under one key each.
func (l Limit) Merge(o Limit) Limit {
	switch {
	case l.counts() && !o.counts():
		return l
	case o.counts() && !l.counts():
		return o
	}
	if o.LastAt.After(l.LastAt) {
		l.LastAt = o.LastAt
	}
	l.Count += o.Count
	l.Refused = l.Refused || o.Refused
	l.Hour, l.Day = l.Hour.merge(o.Hour, time.Hour), l.Day.merge(o.Day, 24*time.Hour)
	return l
}

// counts reports whether l is more than a place to count.
func (l Limit) counts() bool { return l.Count > 0 || l.Day.Count > 0 }

// AddLogin counts a password. After a pause counting starts again.
func (l *Limit) AddLogin(now time.Time) {
	if l.Count >= LoginTries && now.Sub(l.LastAt) >= LoginPause {
		l.Count = 0
	}
	l.Add(now)
}

// LoginWait returns how long the network of l has to wait until its next password; 0: it may try.
func (l *Limit) LoginWait(now time.Time) time.Duration {
	if l.Count < LoginTries {
		return 0
	}
	return max(0, LoginPause-now.Sub(l.LastAt))
}

// StrangerWait is LoginWait of all networks that are not known, together.
func (l *Limit) StrangerWait(now time.Time) time.Duration {
	hour := l.Hour.at(now, time.Hour)
	if l.Count < StrangerTries || hour.Count < StrangerPerHour {
		return 0
	}
	return time.Hour - now.Sub(hour.Start)
}

// SendWait returns how long the network of l has to wait for a code of this kind. A registration has a code of its own,
// and one that wrong tries have ended is replaced at once; only the counts hold for them, of which perDay is that of a
// day. soon reports whether the last code is so young that there is none instead of an error.
func (l *Limit) SendWait(kind SendKind, perDay int, now time.Time) (wait time.Duration, soon bool) {
	hour, day := l.Hour.at(now, time.Hour), l.Day.at(now, 24*time.Hour)
	if spaced := kind == SendResend || kind == SendReset; spaced && day.Count > 0 {
		passed := now.Sub(l.LastAt)
		if passed < ResendInterval {
			return 0, true
		}
		wait = sendGaps[min(day.Count, len(sendGaps))-1] - passed
	}
	if hour.Count >= SendsPerHour {
		wait = max(wait, time.Hour-now.Sub(hour.Start))
	}
	if day.Count >= perDay {
		wait = max(wait, 24*time.Hour-now.Sub(day.Start))
	}
	return max(0, wait), false
}

// SendWaitOfAll returns how long everybody has to wait for a code.
func (l *Limit) SendWaitOfAll(now time.Time) time.Duration {
	if day := l.Day.at(now, 24*time.Hour); day.Count >= SendsFromAll {
		return 24*time.Hour - now.Sub(day.Start)
	}
	return 0
}

// LimitDigest returns the HMAC under which the limits of an address are stored, whatever the case of its letters.
func (k CodeKey) LimitDigest(email string) []byte {
	mac := hmac.New(sha256.New, k)
	fmt.Fprintf(mac, "limit\x00%s", strings.ToLower(strings.TrimSpace(email)))
	return mac.Sum(nil)
}

// LimitDigests returns the [CodeKey.LimitDigest] of each key. What is stored goes to the first.
func (k CodeKeys) LimitDigests(email string) [][]byte {
	digests := make([][]byte, len(k))
	for i, key := range k {
		digests[i] = CodeKey(key).LimitDigest(email)
	}
	return digests
}

// TryAgainIn returns the error of a client that has to wait. It is the same for every state of an account.
func TryAgainIn(wait time.Duration) *apperror.Error {
	seconds := int(math.Ceil(wait.Seconds()))
	return apperror.New(apperror.RateLimited, 20008, fmt.Sprintf("Too many tries; try again in %d seconds", seconds)).
		WithAfter(wait)
}

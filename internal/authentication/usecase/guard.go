package usecase

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
)

// GuardDeps are the dependencies of a [Guard]. All are required.
type GuardDeps struct {
	Tx     authentication.Transactor
	Limits authentication.LimitRepository
	Clock  authentication.Clock
	Keys   authentication.CodeKeys
	// Users finds whose address it is that is refused, for the record.
	Users interface {
		ByEmail(ctx context.Context, email string) (authentication.User, error)
	}
	Audit audit.Recorder
	// Refused is called when something was refused.
	Refused func(ctx context.Context, kind authentication.LimitKind)
}

// Guard is an [authentication.Guard]. It is safe for concurrent use, in any number of processes. What has become of a
// password or a code it counts for clients that have gone as well.
type Guard struct{ deps GuardDeps }

// NewGuard returns a [Guard].
func NewGuard(d GuardDeps) *Guard { return &Guard{deps: d} }

func of(kind authentication.LimitKind, network string) authentication.LimitKey {
	return authentication.LimitKey{Kind: kind, Network: network}
}

// loginKeys are the limits of a password from this client. The last one says that its network is known.
func loginKeys(c authentication.Client) (own, strangers, known authentication.LimitKey) {
	network := c.Network()
	return of(authentication.LimitLogin, network), of(authentication.LimitLogin, ""),
		of(authentication.LimitKnown, network)
}

// Login counts a password that is about to be compared, or returns an error while none may be. Tries from a network that is
// not known, in the sense of [authentication.Client.Network], count as those of strangers only. Who has to wait anyway
// locks nothing and writes nothing, but for the first time, which is recorded.
func (g *Guard) Login(ctx context.Context, email string, c authentication.Client) error {
	digests, now := g.deps.Keys.LimitDigests(email), g.deps.Clock.Now()
	limits, keys, err := g.findLogin(ctx, digests, c)
	if err != nil {
		return err
	}
	wait := loginWait(limits, keys, now)
	if wait > 0 {
		err = g.record(ctx, audit.LoginLocked, email, digests, limits, keys)
	} else {
		err = g.changeLogin(ctx, digests, keys, func(limits map[authentication.LimitKey]authentication.Limit) {
			if wait = loginWait(limits, keys, now); wait > 0 { // others were first
				return
			}
			for key, l := range limits {
				if key.Network == "" {
					l.Add(now)
				} else {
					l.AddLogin(now)
				}
				limits[key] = l
			}
		})
	}
	if err != nil {
		return err
	}
	return g.refuse(ctx, authentication.LimitLogin, wait)
}

// LoginUndone takes back what Login has counted.
func (g *Guard) LoginUndone(ctx context.Context, email string, c authentication.Client) error {
	ctx = context.WithoutCancel(ctx)
	digests := g.deps.Keys.LimitDigests(email)
	_, keys, err := g.findLogin(ctx, digests, c)
	if err != nil {
		return err
	}
	return g.changeLogin(ctx, digests, keys, func(limits map[authentication.LimitKey]authentication.Limit) {
		for key, l := range limits {
			l.Undo()
			limits[key] = l
		}
	})
}

// findLogin returns the limits of a password from this client that are stored, and the keys of those that count it.
func (g *Guard) findLogin(
	ctx context.Context, digests [][]byte, c authentication.Client,
) (limits map[authentication.LimitKey]authentication.Limit, keys []authentication.LimitKey, err error) {
	own, strangers, known := loginKeys(c)
	limits, err = g.deps.Limits.Find(ctx, digests, own, strangers, known)
	if _, ok := limits[known]; !ok {
		keys = append(keys, strangers)
	}
	if own != strangers {
		keys = append(keys, own)
	}
	return limits, keys, err
}

// changeLogin changes limits under their lock.
func (g *Guard) changeLogin(
	ctx context.Context, digests [][]byte, keys []authentication.LimitKey,
	change func(map[authentication.LimitKey]authentication.Limit),
) error {
	return g.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		limits, err := g.deps.Limits.Lock(ctx, digests, g.deps.Clock.Now(), keys...)
		if err != nil {
			return err
		}
		change(limits)
		return g.deps.Limits.Save(ctx, digests, limits)
	})
}

// loginWait returns how long to wait until these limits let another password through.
func loginWait(
	limits map[authentication.LimitKey]authentication.Limit, keys []authentication.LimitKey, now time.Time,
) (wait time.Duration) {
	for _, key := range keys {
		l := limits[key]
		if key.Network == "" {
			wait = max(wait, l.StrangerWait(now))
		} else {
			wait = max(wait, l.LoginWait(now))
		}
	}
	return wait
}

// LoginSucceeded ends the counting of this network and of strangers, and makes the network known.
func (g *Guard) LoginSucceeded(ctx context.Context, email string, c authentication.Client) error {
	ctx = context.WithoutCancel(ctx)
	digests, now := g.deps.Keys.LimitDigests(email), g.deps.Clock.Now()
	own, strangers, known := loginKeys(c)
	limits, err := g.deps.Limits.Find(ctx, digests, own, strangers, known)
	if err != nil {
		return err
	}
	before, isKnown := limits[known]
	if delete(limits, known); len(limits) > 0 {
		err = g.deps.Limits.Forget(ctx, digests, own, strangers)
	}
	if err != nil || known.Network == "" || isKnown && now.Sub(before.LastAt) < authentication.LimitKept {
		return err
	}
	return g.deps.Limits.Know(ctx, digests, known.Network, now)
}

// sends are the limits of a code for this client, what has been guessed, and whether its network is known.
type sends struct{ all, own, code, known authentication.LimitKey }

func sendsOf(c authentication.Client, kind authentication.SendKind) sends {
	counted := authentication.LimitSend
	if kind == authentication.SendReset {
		counted = authentication.LimitReset
	}
	return sends{
		all:   of(counted, ""),
		own:   of(counted, c.Network()),
		code:  of(authentication.LimitCode, ""),
		known: of(authentication.LimitKnown, c.Network()),
	}
}

// keys are those of the limits that count a code.
func (s sends) keys() []authentication.LimitKey {
	if s.own == s.all {
		return []authentication.LimitKey{s.all}
	}
	return []authentication.LimitKey{s.all, s.own}
}

// wait returns how long to wait for a code. Guessed codes cost each network that is not known some of its own, and nothing
// of another's. A known network has its own codes, whatever all others have had.
func (s sends) wait(
	limits map[authentication.LimitKey]authentication.Limit, kind authentication.SendKind, now time.Time,
) (wait time.Duration, soon bool) {
	perDay := authentication.SendsPerDay
	all, own := limits[s.all], limits[s.own]
	if _, ok := limits[s.known]; !ok {
		wait = all.SendWaitOfAll(now)
		if limits[s.code].Count >= authentication.CodeTries {
			perDay = authentication.SendsGuessed
		}
	}
	if s.own == s.all {
		return wait, false
	}
	spacing, soon := own.SendWait(kind, perDay, now)
	return max(wait, spacing), soon
}

// MaySend returns what Send would, and neither locks nor counts. It records the first refusal in a row, which Send, whose
// transaction a refusal rolls back, cannot.
func (g *Guard) MaySend(
	ctx context.Context, email string, c authentication.Client, kind authentication.SendKind,
) error {
	s, digests := sendsOf(c, kind), g.deps.Keys.LimitDigests(email)
	limits, err := g.deps.Limits.Find(ctx, digests, append(s.keys(), s.code, s.known)...)
	if err != nil {
		return err
	}
	now := g.deps.Clock.Now()
	if wait, soon := s.wait(limits, kind, now); wait > 0 && !soon {
		if err := g.record(ctx, audit.CodesLocked, email, digests, limits, s.keys()); err != nil {
			return err
		}
	}
	return g.refuseSend(ctx, s, limits, kind, now)
}

// Send counts a code, or says why there is none.
func (g *Guard) Send(
	ctx context.Context, email string, c authentication.Client, kind authentication.SendKind,
) error {
	digests, now := g.deps.Keys.LimitDigests(email), g.deps.Clock.Now()
	s := sendsOf(c, kind)
	limits, err := g.deps.Limits.Lock(ctx, digests, now, s.keys()...)
	if err != nil {
		return err
	}
	found, err := g.deps.Limits.Find(ctx, digests, s.code, s.known)
	if err != nil {
		return err
	}
	maps.Copy(found, limits)
	if err := g.refuseSend(ctx, s, found, kind, now); err != nil {
		return err
	}
	if _, ok := found[s.known]; ok {
		delete(limits, s.all)
	}
	for key, l := range limits {
		l.Add(now)
		limits[key] = l
	}
	return g.deps.Limits.Save(ctx, digests, limits)
}

func (g *Guard) refuseSend(
	ctx context.Context, s sends, limits map[authentication.LimitKey]authentication.Limit, kind authentication.SendKind,
	now time.Time,
) error {
	wait, soon := s.wait(limits, kind, now)
	if soon {
		return authentication.ErrTooSoon
	}
	return g.refuse(ctx, s.all.Kind, wait)
}

// Known returns those of the networks that are known.
func (g *Guard) Known(ctx context.Context, email string, networks ...string) ([]string, error) {
	keys := make([]authentication.LimitKey, len(networks))
	for i, network := range networks {
		keys[i] = of(authentication.LimitKnown, network)
	}
	found, err := g.deps.Limits.Find(ctx, g.deps.Keys.LimitDigests(email), keys...)
	known := make([]string, 0, len(found))
	for key := range found {
		known = append(known, key.Network)
	}
	return known, err
}

// CodeFailed counts a wrong code.
func (g *Guard) CodeFailed(ctx context.Context, email string) error {
	ctx = context.WithoutCancel(ctx)
	digests, key := g.deps.Keys.LimitDigests(email), of(authentication.LimitCode, "")
	return g.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		now := g.deps.Clock.Now()
		limits, err := g.deps.Limits.Lock(ctx, digests, now, key)
		if err != nil {
			return err
		}
		l := limits[key]
		l.Add(now)
		return g.deps.Limits.Save(ctx, digests, map[authentication.LimitKey]authentication.Limit{key: l})
	})
}

// CodeSucceeded ends the counting of wrong codes.
func (g *Guard) CodeSucceeded(ctx context.Context, email string) error {
	ctx = context.WithoutCancel(ctx)
	return g.deps.Limits.Forget(ctx, g.deps.Keys.LimitDigests(email), of(authentication.LimitCode, ""))
}

// record writes one entry for refusals in a row: the limits remember that there is one until they let a try through.
func (g *Guard) record(
	ctx context.Context, action audit.Action, email string, digests [][]byte,
	found map[authentication.LimitKey]authentication.Limit, keys []authentication.LimitKey,
) error {
	recorded := func(limits map[authentication.LimitKey]authentication.Limit) bool {
		return !slices.ContainsFunc(keys, func(k authentication.LimitKey) bool { return !limits[k].Refused })
	}
	if recorded(found) {
		return nil
	}
	return g.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		limits, err := g.deps.Limits.Lock(ctx, digests, g.deps.Clock.Now(), keys...)
		if err != nil || recorded(limits) {
			return err
		}
		for key, l := range limits {
			l.Refused = true
			limits[key] = l
		}
		if err := g.deps.Limits.Save(ctx, digests, limits); err != nil {
			return err
		}
		user, err := g.deps.Users.ByEmail(ctx, email)
		if err != nil && !errors.Is(err, authentication.ErrUserNotFound) {
			return err
		}
		return g.deps.Audit.Record(ctx, audit.Entry{
			Action:  action,
			Outcome: audit.Refused,
			UserID:  user.ID,
			Details: audit.Details{Address: email},
		})
	})
}

// refuse returns the error of a client that has to wait, nil when it need not.
func (g *Guard) refuse(ctx context.Context, kind authentication.LimitKind, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	g.deps.Refused(ctx, kind)
	return authentication.TryAgainIn(wait)
}

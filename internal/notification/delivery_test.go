package notification_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification"
)

const (
	lease     = time.Minute
	refused   = "smtp_rcpt_550"
	ambiguous = "ambiguous"
	invalid   = "invalid"
	exhausted = "exhausted"
	givenUp   = "given_up_exhausted"
)

var (
	now    = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)
	before = now.Add(-time.Hour)
)

// entry is a mail with three tries behind it, last touched an hour ago.
func entry(state notification.State, change ...func(*notification.Delivery)) notification.Delivery {
	d := notification.Delivery{
		EventID: "evt_1", State: state, Attempts: 3, MessageID: "evt_1@example.com", CreatedAt: before, UpdatedAt: before,
	}
	for _, c := range change {
		c(&d)
	}
	return d
}

func leaseUntil(at time.Time) func(*notification.Delivery) {
	return func(d *notification.Delivery) { d.LeaseUntil = &at }
}

func repeated(d *notification.Delivery) { d.Resends = notification.MaxResends }

func because(class string) func(*notification.Delivery) {
	return func(d *notification.Delivery) { d.ErrorClass = class }
}

// states returns an entry of every kind.
func states() map[string]notification.Delivery {
	return map[string]notification.Delivery{
		"new":                     notification.NewDelivery("evt_1", "evt_1@example.com", before),
		"released":                entry(notification.StateSending, because("smtp_connect")),
		"released after a repeat": entry(notification.StateSending, because("smtp_connect"), repeated),
		"being sent":              entry(notification.StateSending, leaseUntil(now.Add(time.Microsecond))),
		"vanished":                entry(notification.StateSending, leaseUntil(now)),
		"vanished twice":          entry(notification.StateSending, leaseUntil(now), repeated),
		"accepted":                entry(notification.StateAccepted),
		"refused":                 entry(notification.StateFailed, because(refused)),
		"ambiguous twice":         entry(notification.StateFailed, because(ambiguous), repeated),
		"unusable":                entry(notification.StateFailed, because(invalid)),
		"given up":                entry(notification.StateFailed, because(givenUp)),
		"lost":                    entry(notification.StateFailed, because(notification.ClassLost)),
		"lost in doubt":           entry(notification.StateFailed, because(notification.ClassLost), leaseUntil(before)),
		"expired":                 entry(notification.StateExpired),
		"superseded":              entry(notification.StateSuperseded),
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	t.Run("decides by the entry", func(t *testing.T) {
		t.Parallel()
		for state, want := range map[string]struct {
			repeat bool
			err    error
			failed bool // Claim fails the entry
		}{
			"new":                     {},
			"released":                {},
			"released after a repeat": {},
			"being sent":              {err: &notification.BusyError{Wait: time.Microsecond}},
			"vanished":                {repeat: true},
			"vanished twice":          {err: notification.ErrAmbiguous, failed: true},
			"accepted":                {err: notification.ErrAlreadySent},
			"refused":                 {err: &notification.SendError{Class: notification.ClassRejected, Where: refused}},
			"ambiguous twice":         {err: notification.ErrAmbiguous},
			"unusable":                {err: notification.ErrInvalid},
			"given up":                {err: &notification.SendError{Class: notification.ClassGivenUp, Where: exhausted}},
			"lost":                    {},
			"lost in doubt":           {repeat: true},
			"expired":                 {err: notification.ErrDropped},
			"superseded":              {err: notification.ErrDropped},
		} {
			d := states()[state]
			found := d
			repeat, err := d.Claim(now, lease, notification.MaxResends)
			require.Equal(t, want.err, err, state)
			require.Equal(t, want.repeat, repeat, state)
			switch {
			case want.failed:
				require.Equal(t, notification.StateFailed, d.State, state)
				require.Equal(t, ambiguous, d.ErrorClass, state)
				require.Equal(t, found.Attempts, d.Attempts, state)
				require.Nil(t, d.LeaseUntil, state)
			case want.err != nil:
				require.Equal(t, found, d, "%s: a refusal changes nothing", state)
			default:
				require.Equal(t, notification.StateSending, d.State, state)
				require.Equal(t, now.Add(lease), *d.LeaseUntil, state)
				require.Equal(t, found.Attempts+1, d.Attempts, state)
				require.Equal(t, now, d.UpdatedAt, state)
				require.True(t, d.Holds(d.Attempts), state)
				if repeat {
					found.Resends++
				}
				require.Equal(t, found.Resends, d.Resends, state)
			}
			require.Equal(t, found.MessageID, d.MessageID, state)
			require.Equal(t, found.CreatedAt, d.CreatedAt, state)
		}
	})

	t.Run("depends on how the last try ended", func(t *testing.T) {
		t.Parallel()
		for name, test := range map[string]struct {
			wait  time.Duration // between the two tries
			end   func(d *notification.Delivery)
			state notification.State
			class string
			again error // of the next Claim
			// repeat reports whether the next Claim is one
			repeat bool
		}{
			"accepted":  {0, func(d *notification.Delivery) { d.Accept(now) }, notification.StateAccepted, "", notification.ErrAlreadySent, false},
			"refused":   {0, func(d *notification.Delivery) { d.Fail(refused, now) }, notification.StateFailed, refused, &notification.SendError{Class: notification.ClassRejected, Where: refused}, false},
			"ambiguous": {0, func(d *notification.Delivery) { d.Fail(ambiguous, now) }, notification.StateFailed, ambiguous, notification.ErrAmbiguous, false},
			"unusable":  {0, func(d *notification.Delivery) { d.Fail(invalid, now) }, notification.StateFailed, invalid, notification.ErrInvalid, false},
			"released":  {0, func(d *notification.Delivery) { d.Release("smtp_connect", now) }, notification.StateSending, "smtp_connect", nil, false},
			"doubtful":  {30 * time.Second, func(d *notification.Delivery) { d.Doubt("smtp_end_of_data", now) }, notification.StateSending, "smtp_end_of_data", nil, true},
			"vanished":  {0, func(*notification.Delivery) {}, notification.StateSending, "", nil, true},
		} {
			d := notification.NewDelivery("evt_1", "evt_1@example.com", before)
			_, err := d.Claim(now.Add(-lease), lease, notification.MaxResends)
			require.NoError(t, err)
			test.end(&d)
			require.Equal(t, test.state, d.State, name)
			require.Equal(t, test.class, d.ErrorClass, name)

			if test.wait > 0 {
				_, err = d.Claim(now.Add(test.wait-time.Microsecond), lease, notification.MaxResends)
				require.Equal(t, &notification.BusyError{Wait: time.Microsecond}, err, name)
			}
			repeat, err := d.Claim(now.Add(test.wait), lease, notification.MaxResends)
			require.Equal(t, test.again, err, name)
			require.Equal(t, test.repeat, repeat, name)
			if err == nil {
				require.Equal(t, 2, d.Attempts, name)
			}
		}
	})

	// Whatever happens in between, a mail is never sent once more without knowing than its kind allows.
	t.Run("allows as many repeats as the kind of mail", func(t *testing.T) {
		t.Parallel()
		vanish := func(d *notification.Delivery, at time.Time) {}
		doubt := func(d *notification.Delivery, at time.Time) { d.Doubt("smtp_end_of_data", at) }
		release := func(d *notification.Delivery, at time.Time) { d.Release("smtp_connect", at) }
		for name, test := range map[string]struct {
			max     int
			ends    []func(*notification.Delivery, time.Time)
			repeats int
			last    error
		}{
			"vanished, vanished":           {1, []func(*notification.Delivery, time.Time){vanish, vanish}, 1, notification.ErrAmbiguous},
			"doubtful, vanished":           {1, []func(*notification.Delivery, time.Time){doubt, vanish}, 1, notification.ErrAmbiguous},
			"vanished, released, vanished": {1, []func(*notification.Delivery, time.Time){vanish, release, vanish}, 1, notification.ErrAmbiguous},
			"released three times":         {1, []func(*notification.Delivery, time.Time){release, release, release}, 0, nil},
			"code: doubtful, vanished":     {2, []func(*notification.Delivery, time.Time){doubt, vanish}, 1, nil},
			"code: doubtful three times":   {2, []func(*notification.Delivery, time.Time){doubt, doubt, vanish}, 2, notification.ErrAmbiguous},
			"doubtful, released":           {1, []func(*notification.Delivery, time.Time){doubt, release}, 1, nil},
		} {
			d := notification.NewDelivery("evt_1", "evt_1@example.com", before)
			at, repeats := now, 0
			for _, end := range test.ends {
				repeat, err := d.Claim(at, lease, test.max)
				require.NoError(t, err, name)
				if repeat {
					repeats++
				}
				end(&d, at)
				at = at.Add(2 * time.Minute)
			}
			_, err := d.Claim(at, lease, test.max)
			require.Equal(t, test.last, err, name)
			require.Equal(t, test.repeats, repeats, name)
		}
	})
}

func TestHolds(t *testing.T) {
	t.Parallel()
	d := notification.NewDelivery("evt_1", "evt_1@example.com", before)
	_, err := d.Claim(now, lease, notification.MaxResends)
	require.NoError(t, err)
	first := d.Attempts
	require.True(t, d.Holds(first))
	_, err = d.Claim(now.Add(lease), lease, notification.MaxResends)
	require.NoError(t, err)
	require.False(t, d.Holds(first), "its lease has ended and another try has claimed the mail")
	require.True(t, d.Holds(d.Attempts))
	d.Accept(now)
	require.False(t, d.Holds(d.Attempts))
}

func TestRenew(t *testing.T) {
	t.Parallel()
	for state, found := range states() {
		d := found
		holds := d.State == notification.StateSending
		require.Equal(t, holds || state == "accepted", d.Renew(d.Attempts, now, lease), state)
		if !holds {
			require.Equal(t, found, d, state)
			continue
		}
		require.Equal(t, now.Add(lease), *d.LeaseUntil, state)
		d = found
		require.False(t, d.Renew(d.Attempts-1, now, lease), "%s: another try holds it", state)
		require.Equal(t, found, d, state)
	}
}

// A relay restarts within seconds, a host within minutes.
func TestDoubt(t *testing.T) {
	t.Parallel()
	d := notification.NewDelivery("evt_1", "evt_1@example.com", before)
	at := now
	for _, want := range []time.Duration{30 * time.Second, 2 * time.Minute} {
		_, err := d.Claim(at, lease, notification.MaxCodeResends)
		require.NoError(t, err)
		require.Equal(t, want, d.Doubt("smtp_end_of_data", at))
		require.Equal(t, at.Add(want), *d.LeaseUntil)
		at = at.Add(want)
	}
}

func TestDrop(t *testing.T) {
	t.Parallel()
	class := map[string]string{ // of the dropped entry; missing: it is not dropped
		"new": "", "released": "", "released after a repeat": ambiguous, "vanished": ambiguous, "vanished twice": ambiguous,
		"refused": refused, "ambiguous twice": ambiguous, "unusable": invalid, "given up": givenUp,
		"lost": notification.ClassLost, "lost in doubt": notification.ClassLost,
	}
	for state, found := range states() {
		for _, why := range []notification.State{notification.StateExpired, notification.StateSuperseded} {
			d := found
			changed, err := d.Drop(why, now)
			if want, drops := class[state]; drops {
				require.True(t, changed, state)
				require.Equal(t, want, d.ErrorClass, state)
			} else {
				require.False(t, changed, state)
				require.Equal(t, found, d, state)
				if state == "being sent" {
					require.Equal(t, &notification.BusyError{Wait: time.Microsecond}, err, "it has not ended")
				} else {
					require.NoError(t, err, state)
				}
				continue
			}
			require.NoError(t, err, state)
			require.Equal(t, why, d.State, state)
			require.Nil(t, d.LeaseUntil, state)
			require.Equal(t, now, d.UpdatedAt, state)
			unsent := state == "new" || state == "released"
			require.Equal(t, unsent && why == notification.StateExpired, d.NeverLeft(), state)
			changed, err = d.Drop(why, now)
			require.NoError(t, err, state)
			require.False(t, changed, "%s: only once", state)
			_, err = d.Claim(now, lease, notification.MaxResends)
			require.ErrorIs(t, err, notification.ErrDropped, state)
		}
	}
}

func TestGiveUp(t *testing.T) {
	t.Parallel()
	open := map[string]bool{
		"new": true, "released": true, "released after a repeat": true, "vanished": true, "vanished twice": true,
	}
	for state, found := range states() {
		d := found
		err := d.GiveUp(exhausted, now)
		if !open[state] {
			require.Equal(t, found, d, state)
			if state == "being sent" {
				require.Equal(t, &notification.BusyError{Wait: time.Microsecond}, err)
			} else {
				require.NoError(t, err, state)
			}
			continue
		}
		require.NoError(t, err, state)
		require.Equal(t, notification.StateFailed, d.State, state)
		require.Equal(t, givenUp, d.ErrorClass, state)
		require.Nil(t, d.LeaseUntil, state)
		require.Equal(t, now, d.UpdatedAt, state)
		require.Equal(t, found.Attempts, d.Attempts, state)
	}
}

func TestSendError(t *testing.T) {
	t.Parallel()
	cause := errors.New("mailer: temporary failure at RCPT: 450 4.2.1")
	err := fmt.Errorf("sending: %w", &notification.SendError{Class: notification.ClassTemporary, Where: "smtp_rcpt_450", Err: cause})
	require.ErrorIs(t, err, cause)
	require.ErrorContains(t, err, "450")
	var failure *notification.SendError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, "smtp_rcpt_450", failure.ErrorClass())
	for where, refused := range map[string]bool{
		"smtp_auth_535": true, "smtp_rcpt_450": false, "smtp_connect": false, "smtp_tls": false, "": false,
	} {
		require.Equal(t, refused, (&notification.SendError{Where: where}).Refused(), where)
	}
	require.Equal(t, "notification: mail ambiguous failure: ambiguous", notification.ErrAmbiguous.Error())
	require.NotEmpty(t, (&notification.BusyError{}).Error())
}

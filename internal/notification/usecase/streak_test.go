package usecase_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// try is one mail and what becomes of it: the class of a temporary failure, or "" for a 250.
type try struct{ mail, to, where string }

// tries returns n mails to these domains in turn, each failing at where.
func tries(n int, where string, domains ...string) []try {
	all := make([]try, n)
	for i := range all {
		all[i] = try{fmt.Sprintf("evt_%s_%d", where, i), "an@" + domains[i%len(domains)], where}
	}
	return all
}

func TestStreak(t *testing.T) {
	t.Parallel()
	const unclear, other = "smtp_rcpt_554", "smtp_rcpt_451"
	three := []string{"a.example", "b.example", "c.example"}
	for name, test := range map[string]struct {
		before  []try
		blocked bool // the last of them
	}{
		"five mails to three domains":        {tries(5, unclear, three...), true},
		"four mails":                         {tries(4, unclear, three...), false},
		"five mails to two domains":          {tries(5, unclear, "a.example", "b.example"), false},
		"many mails to one domain":           {tries(50, unclear, "a.example"), false},
		"the same domain in another case":    {tries(5, unclear, "a.example", "b.example", "A.EXAMPLE"), false},
		"five mails of two classes":          {append(tries(3, other, three...), tries(2, unclear, three...)...), false},
		"another class in between":           {append(tries(4, unclear, three...), append(tries(1, other, three...), try{"evt_5", "an@a.example", unclear})...), true},
		"a 250 in between":                   {append(tries(4, unclear, three...), append(tries(1, "", three...), try{"evt_5", "an@a.example", unclear})...), false},
		"one mail that is always refused":    {[]try{{"evt_1", "an@a.example", unclear}, {"evt_1", "an@b.example", unclear}, {"evt_1", "an@c.example", unclear}, {"evt_1", "an@a.example", unclear}, {"evt_1", "an@a.example", unclear}}, false},
		"and any mail after the fifth":       {append(tries(5, unclear, three...), try{"evt_6", "an@a.example", unclear}), true},
		"but not a mail of another class":    {append(tries(5, unclear, three...), try{"evt_6", "an@a.example", other}), false},
		"and what was cut off from our side": {append(tries(4, unclear, three...), try{"evt_5", "an@a.example", "cut"}), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.observer.EXPECT().MailAccepted(gomock.Any(), gomock.Any(), gomock.Any()).AnyTimes()
			f.observer.EXPECT().MailFailed(gomock.Any()).AnyTimes()
			f.renderer.EXPECT().Verification("en", code, gomock.Any(), expiresAt).Return(content, nil).AnyTimes()
			var err error
			var failure *notification.SendError
			for _, next := range test.before {
				f.mailer.EXPECT().Send(outside, gomock.Any(), gomock.Any()).DoAndReturn(
					func(ctx context.Context, _ notification.Mail, accepted func(context.Context) error) error {
						if next.where == "" {
							return accepted(ctx)
						}
						failure = &notification.SendError{Class: notification.ClassTemporary, Where: next.where}
						if next.where == "cut" {
							failure.Where, failure.Err = unclear, context.Canceled
						}
						return failure
					})
				err = f.sender.SendVerification(context.Background(), next.mail, event.VerificationRequested{
					UserID: "user-1", Recipient: next.to, OTPCode: code, Locale: "en", ExpiresAt: expiresAt,
				})
			}
			last := test.before[len(test.before)-1].mail
			require.Nil(t, f.entries[last].LeaseUntil)
			if !test.blocked {
				require.Equal(t, failure, err)
				return
			}
			require.Equal(t, event.BlockedFor(refusedFor, failure), err)
			require.Equal(t, notification.StateSending, f.entries[last].State)
			require.Equal(t, unclear, f.entries[last].ErrorClass)
		})
	}

	t.Run("of one lane is no other's", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.observer.EXPECT().MailFailed(unclear).AnyTimes()
		f.mailer.EXPECT().Send(outside, gomock.Any(), gomock.Any()).
			Return(&notification.SendError{Class: notification.ClassTemporary, Where: unclear}).AnyTimes()
		f.renderer.EXPECT().Invitation(gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).Return(content, nil).AnyTimes()
		f.renderer.EXPECT().ProjectCompleted(gomock.Any(), gomock.Any()).Return(content, nil).AnyTimes()
		for _, next := range tries(4, unclear, three...) {
			_ = f.sender.SendProjectCompleted(context.Background(), next.mail, event.ProjectCompletedMail{Recipient: next.to})
			_ = f.sender.SendMail(context.Background(), "w"+next.mail, notification.Mail{To: next.to}, expiresAt)
		}
		err := f.sender.SendInvitation(context.Background(), "evt_5",
			event.InvitationMail{Recipient: recipient, ExpiresAt: expiresAt})
		require.Equal(t, event.Retry, f.decide(err, false).Action)
		require.IsType(t, &notification.SendError{}, err)
	})
}

// refusedFor is how long a lane waits for its next probe where the server replies with a 5xx.
const refusedFor = 30_000_000_000

func TestBlocked(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]func(error) error{
		"smtp_connect":  event.Blocked,
		"smtp_ehlo_421": event.Blocked,
		"smtp_auth_535": func(err error) error { return event.BlockedFor(refusedFor, err) },
	} {
		t.Run(where+" keeps the mail as it is", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.renders()
			failure := &notification.SendError{Class: notification.ClassBlocked, Where: where, Err: errors.New("refused")}
			f.conversation(func(context.Context, accept) error { return failure }).Times(20)
			f.observer.EXPECT().MailFailed(where).Times(20)
			for range 20 { // probes: as many as it takes
				err := f.deliver(context.Background())
				require.Equal(t, want(failure), err)
				_, ended := event.Ended(err)
				require.False(t, ended)
				require.Equal(t, notification.StateSending, f.entry().State)
				require.Equal(t, where, f.entry().ErrorClass)
				require.Nil(t, f.entry().LeaseUntil, "the next try waits for nobody, and is no repeat")
			}
			f.conversation(says250)
			f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
			f.requireOutcome(event.Ack, "handled")
		})
	}
}

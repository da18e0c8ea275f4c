package usecase_test

import (
	"context"
	"errors"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/invitation/mock"
	"github.com/smap-platform/identity/internal/invitation/usecase"
)

func TestSend(t *testing.T) {
	t.Parallel()
	data := event.InvitationMail{
		UserID: userID, Recipient: "an@example.com", Token: "token", Locale: "vi", ExpiresAt: now.Add(invitation.Lifetime),
	}
	superseded := event.Drop(event.DropSuperseded)
	for name, tc := range map[string]struct {
		invitation invitation.Invitation
		find       error
		looked     bool // at the account
		active     bool
		account    error
		send       error
		sent       bool
		supersede  error
		want       error
	}{
		"sends an open invitation":           {invitation: newInvitation(nil), looked: true, sent: true},
		"returns the mailer's error":         {invitation: newInvitation(nil), looked: true, sent: true, send: errBroken, want: errBroken},
		"drops an accepted one as duplicate": {invitation: newInvitation(accepted), want: event.Drop(event.DropDuplicate)},
		"drops a cancelled one":              {invitation: newInvitation(cancelled), want: superseded},
		"drops a purged one":                 {find: invitation.ErrNotFound, want: superseded},
		"drops one whose account is gone": {invitation: newInvitation(nil), looked: true, account: invitation.ErrAccountNotFound,
			want: superseded},
		"drops one whose account is active":    {invitation: newInvitation(nil), looked: true, active: true, want: superseded},
		"returns an error of recording a drop": {invitation: newInvitation(cancelled), supersede: errBroken, want: errBroken},
		"returns an error of the invitation":   {find: errBroken, want: errBroken},
		"returns an error of the account":      {invitation: newInvitation(nil), looked: true, account: errBroken, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctrl := gomock.NewController(t)
			invitations, accounts := mock.NewMockEventFinder(ctrl), mock.NewMockAccountFinder(ctrl)
			mailer := mock.NewMockMailer(ctrl)
			invitations.EXPECT().ByEvent(gomock.Any(), "evt_1").Return(tc.invitation, tc.find)
			if tc.looked {
				accounts.EXPECT().Account(gomock.Any(), userID).Return(invitation.Account{Active: tc.active}, tc.account)
			}
			if tc.sent {
				mailer.EXPECT().SendInvitation(gomock.Any(), "evt_1", data).Return(tc.send)
			}
			if errors.Is(tc.want, superseded) || tc.supersede != nil {
				mailer.EXPECT().Supersede(gomock.Any(), "evt_1").Return(tc.supersede)
			}
			sender := usecase.NewMailSender(usecase.MailSenderDeps{Invitations: invitations, Accounts: accounts, Mailer: mailer})
			require.Equal(t, tc.want, sender.Send(context.Background(), "evt_1", data))
		})
	}
}

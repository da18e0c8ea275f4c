package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication/mock"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
)

func TestSendNotice(t *testing.T) {
	t.Parallel()
	data := event.AccountExistsMail{UserID: userID, Recipient: email, Locale: "vi"}
	for name, tc := range map[string]struct {
		claimed bool
		failed  error // of Claim
		expect  func(*mock.MockNoticeMailer)
		want    error
	}{
		"sends one that is due": {claimed: true, expect: func(m *mock.MockNoticeMailer) {
			m.EXPECT().SendAccountExists(gomock.Any(), "evt_1", data)
		}},
		"returns the mailer's error": {claimed: true, expect: func(m *mock.MockNoticeMailer) {
			m.EXPECT().SendAccountExists(gomock.Any(), "evt_1", data).Return(errBroken)
		}, want: errBroken},
		"drops one within the hour": {expect: func(m *mock.MockNoticeMailer) {
			m.EXPECT().Supersede(gomock.Any(), "evt_1")
		}, want: event.Drop(event.DropSuperseded)},
		"keeps one whose drop cannot be recorded": {expect: func(m *mock.MockNoticeMailer) {
			m.EXPECT().Supersede(gomock.Any(), "evt_1").Return(errBroken)
		}, want: errBroken},
		"keeps one that cannot be claimed": {failed: errBroken, expect: func(*mock.MockNoticeMailer) {}, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctrl := gomock.NewController(t)
			notices, mailer := mock.NewMockNoticeRepository(ctrl), mock.NewMockNoticeMailer(ctrl)
			n := usecase.NewNoticeSender(usecase.NoticeSenderDeps{Notices: notices, Mailer: mailer, Clock: &fakeClock{start}})
			notices.EXPECT().Claim(gomock.Any(), userID, "evt_1", start, start.Add(-time.Hour)).Return(tc.claimed, tc.failed)
			tc.expect(mailer)
			require.Equal(t, tc.want, n.SendAccountExists(context.Background(), "evt_1", data))
		})
	}
}

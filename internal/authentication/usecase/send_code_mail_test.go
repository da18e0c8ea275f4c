package usecase_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/mock"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
)

func TestSendCodeMail(t *testing.T) {
	t.Parallel()
	data := event.VerificationRequested{
		UserID: userID, Recipient: email, OTPCode: digits, Locale: "vi", ExpiresAt: start.Add(authentication.CodeLifetime),
	}
	replaced, used := storedCode(), storedCode()
	replaced.EventID, used.UsedAt = "evt_2", start
	adopted := storedCode()
	adopted.EventID = ""
	superseded := event.Drop(event.DropSuperseded)
	for name, tc := range map[string]struct {
		code    authentication.Code
		findErr error
		expect  func(*mock.MockMailer)
		want    error
	}{
		"current": {code: storedCode(), expect: func(m *mock.MockMailer) {
			m.EXPECT().SendVerification(gomock.Any(), "evt_1", data)
		}},
		"current, and the mail server is away": {code: storedCode(), expect: func(m *mock.MockMailer) {
			m.EXPECT().SendVerification(gomock.Any(), "evt_1", data).Return(errBroken)
		}, want: errBroken},
		"replaced": {code: replaced, expect: func(m *mock.MockMailer) {
			m.EXPECT().Supersede(gomock.Any(), "evt_1")
		}, want: superseded},
		"replaced by a code that no mail of ours carries": {code: adopted, expect: func(m *mock.MockMailer) {
			m.EXPECT().Supersede(gomock.Any(), "evt_1")
		}, want: superseded},
		"used": {code: used, expect: func(m *mock.MockMailer) {
			m.EXPECT().Supersede(gomock.Any(), "evt_1")
		}, want: superseded},
		"gone with its user": {findErr: authentication.ErrCodeNotFound, expect: func(m *mock.MockMailer) {
			m.EXPECT().Supersede(gomock.Any(), "evt_1")
		}, want: superseded},
		"replaced, and that cannot be recorded": {code: replaced, expect: func(m *mock.MockMailer) {
			m.EXPECT().Supersede(gomock.Any(), "evt_1").Return(errBroken)
		}, want: errBroken},
		"not readable": {findErr: errBroken, expect: func(*mock.MockMailer) {}, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctrl := gomock.NewController(t)
			codes, mailer := mock.NewMockCodeRepository(ctrl), mock.NewMockMailer(ctrl)
			codes.EXPECT().Find(gomock.Any(), userID, purpose).Return(tc.code, tc.findErr)
			tc.expect(mailer)
			sender := usecase.NewCodeMailSender(usecase.CodeMailSenderDeps{Codes: codes, Mailer: mailer})
			require.Equal(t, tc.want, sender.Send(context.Background(), "evt_1", data))
		})
	}
}

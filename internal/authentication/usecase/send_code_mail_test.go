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

// mailFixture is a CodeMailSender with everything around it faked.
type mailFixture struct {
	*usecase.CodeMailSender
	tx       *fakeTx
	users    *mock.MockUserRepository
	requests *mock.MockCodeRequestRepository
	mailer   *mock.MockMailer
	events   *txRecorder
	clock    *fakeClock
	replaced []string
}

func newMailFixture(t *testing.T) *mailFixture {
	t.Helper()
	ctrl := gomock.NewController(t)
	f := &mailFixture{
		tx:       &fakeTx{},
		users:    mock.NewMockUserRepository(ctrl),
		requests: mock.NewMockCodeRequestRepository(ctrl),
		mailer:   mock.NewMockMailer(ctrl),
		events:   &txRecorder{},
		clock:    &fakeClock{now: start},
	}
	f.CodeMailSender = usecase.NewCodeMailSender(usecase.CodeMailSenderDeps{
		Tx:       f.tx,
		Users:    f.users,
		Requests: f.requests,
		Mailer:   f.mailer,
		Events:   f.events,
		Clock:    f.clock,
		CodeKeys: authentication.CodeKeys{codeKey},
		Replaced: func(_ context.Context, eventID string) { f.replaced = append(f.replaced, eventID) },
	})
	return f
}

func TestSendCodeMail(t *testing.T) {
	t.Parallel()
	data := event.VerificationRequested{
		UserID: userID, Recipient: email, OTPCode: digits, Locale: "vi", ExpiresAt: start.Add(authentication.CodeLifetime),
	}
	used := changedRequest(func(r *authentication.CodeRequest) { r.Code.UsedAt = start })
	superseded := event.Drop(event.DropSuperseded)
	for name, tc := range map[string]struct {
		request authentication.CodeRequest
		findErr error
		expect  func(*mock.MockMailer)
		want    error
	}{
		"current": {request: storedRequest(), expect: func(m *mock.MockMailer) {
			m.EXPECT().SendVerification(gomock.Any(), "evt_1", data)
		}},
		"current, and the mail server is away": {request: storedRequest(), expect: func(m *mock.MockMailer) {
			m.EXPECT().SendVerification(gomock.Any(), "evt_1", data).Return(errBroken)
		}, want: errBroken},
		"used": {request: used, expect: func(m *mock.MockMailer) {
			m.EXPECT().Supersede(gomock.Any(), "evt_1")
		}, want: superseded},
		"replaced, or gone": {findErr: authentication.ErrCodeNotFound, expect: func(m *mock.MockMailer) {
			m.EXPECT().Supersede(gomock.Any(), "evt_1")
		}, want: superseded},
		"used, and that cannot be recorded": {request: used, expect: func(m *mock.MockMailer) {
			m.EXPECT().Supersede(gomock.Any(), "evt_1").Return(errBroken)
		}, want: errBroken},
		"not readable": {findErr: errBroken, expect: func(*mock.MockMailer) {}, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newMailFixture(t)
			f.requests.EXPECT().ByEvent(outside, "evt_1").Return(tc.request, tc.findErr)
			tc.expect(f.mailer)
			require.Equal(t, tc.want, f.Send(context.Background(), "evt_1", data))
			require.Empty(t, f.replaced)
		})
	}
}

package usecase_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/mock"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
)

// invitationFixture is Invitations with everything mocked; what takes several requests is tested on the repositories.
type invitationFixture struct {
	*usecase.Invitations
	tx, longTx  *fakeTx
	users       *mock.MockUserRepository
	batches     *mock.MockBatchRepository
	invitations *mock.MockInvitationRepository
	passwords   *mock.MockPasswordHasher
	tokens      *mock.MockTokenIssuer
	trials      *mock.MockTrialStarter
	progress    *mock.MockProgressTracker
}

func newInvitationFixture(t *testing.T, options ...func(*usecase.InvitationDeps)) *invitationFixture {
	t.Helper()
	ctrl := gomock.NewController(t)
	f := &invitationFixture{
		tx: &fakeTx{}, longTx: &fakeTx{}, users: mock.NewMockUserRepository(ctrl), batches: mock.NewMockBatchRepository(ctrl),
		invitations: mock.NewMockInvitationRepository(ctrl), passwords: mock.NewMockPasswordHasher(ctrl),
		tokens: mock.NewMockTokenIssuer(ctrl), trials: mock.NewMockTrialStarter(ctrl), progress: mock.NewMockProgressTracker(ctrl),
	}
	deps := usecase.InvitationDeps{
		Tx: f.tx, LongTx: f.longTx, Users: f.users, Batches: f.batches, Invitations: f.invitations,
		Pace: mock.NewMockPaceRepository(ctrl), Passwords: f.passwords, Tokens: f.tokens, Trials: f.trials, Events: &txRecorder{},
		Outbox: mock.NewMockWithdrawer(ctrl), Progress: f.progress, Clock: &fakeClock{start}, CodeKey: codeKey, PerSecond: 20,
	}
	for _, option := range options {
		option(&deps)
	}
	f.Invitations = usecase.NewInvitations(deps)
	return f
}

func TestNewInvitationsNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*usecase.InvitationDeps){
		"Tx":          func(d *usecase.InvitationDeps) { d.Tx = nil },
		"LongTx":      func(d *usecase.InvitationDeps) { d.LongTx = nil },
		"Users":       func(d *usecase.InvitationDeps) { d.Users = nil },
		"Batches":     func(d *usecase.InvitationDeps) { d.Batches = nil },
		"Invitations": func(d *usecase.InvitationDeps) { d.Invitations = nil },
		"Pace":        func(d *usecase.InvitationDeps) { d.Pace = nil },
		"Passwords":   func(d *usecase.InvitationDeps) { d.Passwords = nil },
		"Tokens":      func(d *usecase.InvitationDeps) { d.Tokens = nil },
		"Trials":      func(d *usecase.InvitationDeps) { d.Trials = nil },
		"Events":      func(d *usecase.InvitationDeps) { d.Events = nil },
		"Outbox":      func(d *usecase.InvitationDeps) { d.Outbox = nil },
		"Progress":    func(d *usecase.InvitationDeps) { d.Progress = nil },
		"Clock":       func(d *usecase.InvitationDeps) { d.Clock = nil },
		"CodeKey":     func(d *usecase.InvitationDeps) { d.CodeKey = nil },
		"PerSecond":   func(d *usecase.InvitationDeps) { d.PerSecond = 0 },
	} {
		require.PanicsWithValue(t, "authentication/usecase: InvitationDeps."+name+" is missing",
			func() { newInvitationFixture(t, remove) })
	}
	require.Panics(t, func() { usecase.NewInvitationMailSender(nil, nil, nil) })
	require.Panics(t, func() { usecase.NewBatchCloser(nil, nil, nil) })
	require.Panics(t, func() { usecase.NewRepairer(usecase.RepairDeps{}) })
}

func stored(change func(*authentication.Invitation)) authentication.Invitation {
	i := authentication.Invitation{
		ID: "i", UserID: userID, EventID: "evt_1", CreatedAt: start, ExpiresAt: start.Add(authentication.InvitationLifetime),
	}
	if change != nil {
		change(&i)
	}
	return i
}

// A guess costs no hash, and one that cannot be a token not even a look.
func TestAcceptLooksBeforeItHashes(t *testing.T) {
	t.Parallel()
	secret := authentication.NewInvitationToken()
	for name, tc := range map[string]struct {
		token, password string
		found           error
		invitation      authentication.Invitation
		want            error
	}{
		"no token":       {token: "guess", password: password, want: authentication.ErrInvitationInvalid},
		"short password": {token: secret, password: "short", want: authentication.ErrBody},
		"unknown":        {token: secret, password: password, found: authentication.ErrInvitationNotFound, want: authentication.ErrInvitationInvalid},
		"broken":         {token: secret, password: password, found: errBroken, want: errBroken},
		"used": {token: secret, password: password, want: authentication.ErrInvitationUsed,
			invitation: stored(func(i *authentication.Invitation) { i.AcceptedAt = start })},
		"expired": {token: secret, password: password, want: authentication.ErrInvitationExpired,
			invitation: stored(func(i *authentication.Invitation) { i.ExpiresAt = start })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newInvitationFixture(t) // Hash is not expected
			if tc.token == secret && tc.password == password {
				f.invitations.EXPECT().ByDigest(outside, gomock.Any()).Return(tc.invitation, tc.found)
			}
			_, err := f.Accept(context.Background(), tc.token, tc.password)
			require.ErrorIs(t, err, tc.want)
			require.Zero(t, f.tx.commits+f.tx.rollbacks)
		})
	}
}

func TestAcceptHashesOutsideTheTransaction(t *testing.T) {
	t.Parallel()
	secret := authentication.NewInvitationToken()
	digest, err := codeKey.InvitationDigest(secret)
	require.NoError(t, err)
	invited := pendingUser()
	invited.PasswordHash = ""
	want := invited
	want.PasswordHash, want.Active = "new hash", true
	for name, tc := range map[string]struct {
		finish func(f *invitationFixture)
		want   error
	}{
		"accepted": {func(f *invitationFixture) {
			f.users.EXPECT().LockByID(inside, userID).Return(invited, nil)
			f.users.EXPECT().Update(inside, want)
			f.invitations.EXPECT().Save(inside, stored(func(i *authentication.Invitation) { i.AcceptedAt = start }))
			f.trials.EXPECT().StartTrial(inside, userID)
			f.tokens.EXPECT().Issue(want, false).Return(authentication.Token{Value: "signed"}, nil)
		}, nil},
		"the trial cannot be started": {func(f *invitationFixture) {
			f.users.EXPECT().LockByID(inside, userID).Return(invited, nil)
			f.users.EXPECT().Update(inside, want)
			f.invitations.EXPECT().Save(inside, gomock.Any())
			f.trials.EXPECT().StartTrial(inside, userID).Return(errBroken)
		}, errBroken},
		"the user is gone": {func(f *invitationFixture) {
			f.users.EXPECT().LockByID(inside, userID).Return(authentication.User{}, authentication.ErrUserNotFound)
		}, authentication.ErrInvitationInvalid},
		"the user has verified a code": {func(f *invitationFixture) {
			f.users.EXPECT().LockByID(inside, userID).Return(activeUser(), nil)
		}, authentication.ErrInvitationUsed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newInvitationFixture(t)
			f.invitations.EXPECT().ByDigest(outside, digest).Return(stored(nil), nil)
			f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil)
			f.invitations.EXPECT().LockByDigest(inside, digest).Return(stored(nil), nil)
			tc.finish(f)
			session, err := f.Accept(context.Background(), secret, password)
			require.ErrorIs(t, err, tc.want)
			if tc.want == nil {
				require.Equal(t, authentication.Session{User: want, Token: authentication.Token{Value: "signed"}}, session)
			}
			require.Equal(t, tc.want == nil, f.tx.commits == 1)
		})
	}
}

func TestAcceptWithAFullHashingPool(t *testing.T) {
	t.Parallel()
	f := newInvitationFixture(t)
	f.invitations.EXPECT().ByDigest(outside, gomock.Any()).Return(stored(nil), nil)
	f.passwords.EXPECT().Hash(outside, password).Return("", authentication.ErrBusy)
	_, err := f.Accept(context.Background(), authentication.NewInvitationToken(), password)
	require.ErrorIs(t, err, authentication.ErrBusy)
}

func TestInviteWaitsWithoutAConnection(t *testing.T) {
	t.Parallel()
	f := newInvitationFixture(t)
	admin := activeUser()
	admin.Role = authentication.RoleAdmin
	f.users.EXPECT().ByID(gomock.Any(), userID).Return(admin, nil).Times(2)
	f.progress.EXPECT().Begin(outside, gomock.Any(), userID)
	f.progress.EXPECT().Forget(outside, gomock.Any())
	writing, finish := make(chan struct{}), make(chan struct{})
	f.batches.EXPECT().Create(inside, gomock.Any()).DoAndReturn(func(context.Context, authentication.Batch) (bool, error) {
		close(writing)
		<-finish
		return false, errBroken
	})
	actor, ended := authentication.Actor{UserID: userID, Admin: true}, make(chan error, 1)
	go func() {
		_, err := f.Invite(context.Background(), actor, authentication.Upload{Addresses: noAddresses{}})
		ended <- err
	}()
	<-writing
	ctx, hangUp := context.WithCancel(context.Background())
	hangUp()
	_, err := f.Invite(ctx, actor, authentication.Upload{Addresses: noAddresses{}})
	require.ErrorIs(t, err, context.Canceled, "and no second transaction was begun")
	close(finish)
	require.ErrorIs(t, <-ended, errBroken)
}

// hangUp is a Transactor whose caller is gone once the commit is done.
type hangUp struct {
	fakeTx
	cancel context.CancelFunc
}

func (tx *hangUp) WithinTx(ctx context.Context, fn func(context.Context) error) error {
	defer tx.cancel()
	return tx.fakeTx.WithinTx(ctx, fn)
}

// The commit is done, and progress follows it whether the client still waits or not.
func TestProgressFollowsACommitWhoseClientHasGone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	f := newInvitationFixture(t, func(d *usecase.InvitationDeps) { d.LongTx = &hangUp{cancel: cancel} })
	admin := activeUser()
	admin.Role = authentication.RoleAdmin
	f.users.EXPECT().ByID(gomock.Any(), userID).Return(admin, nil)
	var begun string
	f.progress.EXPECT().Begin(outside, gomock.Any(), userID).Do(func(_ context.Context, id, _ string) { begun = id })
	f.progress.EXPECT().Forget(outside, gomock.Any()).Do(func(_ context.Context, id string) { require.Equal(t, begun, id) })
	f.batches.EXPECT().Create(inside, gomock.Any()).Return(false, nil)
	f.batches.EXPECT().ByKey(inside, userID, "key").Return(authentication.Batch{ID: "proj_1", AdminID: userID, Total: 3}, nil)
	f.batches.EXPECT().Report(outside, "proj_1", 0).Return(nil, nil)
	f.progress.EXPECT().Open(outside, "proj_1", userID, int64(3)).DoAndReturn(
		func(ctx context.Context, _, _ string, _ int64) error {
			require.NoError(t, ctx.Err())
			_, bounded := ctx.Deadline()
			require.True(t, bounded, "but not for ever")
			return errBroken
		})
	_, err := f.Invite(ctx, authentication.Actor{UserID: userID, Admin: true},
		authentication.Upload{Addresses: noAddresses{}, IdempotencyKey: "key"})
	require.NoError(t, err, "nothing is lost: it is repaired")
	require.Error(t, ctx.Err())
}

type noAddresses struct{}

func (noAddresses) Each(func(int, string) error) error { return nil }

func TestInvitationMailSend(t *testing.T) {
	t.Parallel()
	data := event.InvitationRequested{
		UserID: userID, Recipient: email, Token: "token", Locale: "vi", ExpiresAt: start.Add(authentication.InvitationLifetime),
	}
	mail := authentication.InvitationMail{EventID: "evt_1", Recipient: email, Token: "token", Locale: "vi", ExpiresAt: data.ExpiresAt}
	superseded := event.Drop(event.DropSuperseded)
	registered := pendingUser()
	for name, tc := range map[string]struct {
		invitation authentication.Invitation
		findErr    error
		user       *authentication.User
		userErr    error
		expect     func(*mock.MockInvitationMailerMockRecorder)
		want       error
	}{
		"open": {invitation: stored(nil), user: &authentication.User{}, expect: func(m *mock.MockInvitationMailerMockRecorder) {
			m.SendInvitation(gomock.Any(), mail)
		}},
		"registered, not verified": {invitation: stored(nil), user: &registered, expect: func(m *mock.MockInvitationMailerMockRecorder) {
			m.SendInvitation(gomock.Any(), mail)
		}},
		"the mail server is away": {invitation: stored(nil), user: &authentication.User{}, expect: func(m *mock.MockInvitationMailerMockRecorder) {
			m.SendInvitation(gomock.Any(), mail).Return(errBroken)
		}, want: errBroken},
		"accepted": {invitation: stored(func(i *authentication.Invitation) { i.AcceptedAt = start }), want: event.Drop(event.DropDuplicate)},
		"cancelled": {invitation: stored(func(i *authentication.Invitation) { i.CancelledAt = start }), expect: func(m *mock.MockInvitationMailerMockRecorder) {
			m.Supersede(gomock.Any(), "evt_1")
		}, want: superseded},
		"purged": {findErr: authentication.ErrInvitationNotFound, expect: func(m *mock.MockInvitationMailerMockRecorder) {
			m.Supersede(gomock.Any(), "evt_1")
		}, want: superseded},
		"user gone": {invitation: stored(nil), userErr: authentication.ErrUserNotFound, expect: func(m *mock.MockInvitationMailerMockRecorder) {
			m.Supersede(gomock.Any(), "evt_1")
		}, want: superseded},
		"verified by himself": {invitation: stored(nil), user: &authentication.User{Active: true}, expect: func(m *mock.MockInvitationMailerMockRecorder) {
			m.Supersede(gomock.Any(), "evt_1")
		}, want: superseded},
		"cancelled, and that cannot be recorded": {invitation: stored(func(i *authentication.Invitation) { i.CancelledAt = start }), expect: func(m *mock.MockInvitationMailerMockRecorder) {
			m.Supersede(gomock.Any(), "evt_1").Return(errBroken)
		}, want: errBroken},
		"not readable":      {findErr: errBroken, want: errBroken},
		"user not readable": {invitation: stored(nil), userErr: errBroken, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctrl := gomock.NewController(t)
			invitations, users, mailer := mock.NewMockInvitationRepository(ctrl), mock.NewMockUserRepository(ctrl), mock.NewMockInvitationMailer(ctrl)
			invitations.EXPECT().ByEvent(gomock.Any(), "evt_1").Return(tc.invitation, tc.findErr)
			if tc.user != nil || tc.userErr != nil {
				u := authentication.User{}
				if tc.user != nil {
					u = *tc.user
				}
				users.EXPECT().ByID(gomock.Any(), userID).Return(u, tc.userErr)
			}
			if tc.expect != nil {
				tc.expect(mailer.EXPECT())
			}
			sender := usecase.NewInvitationMailSender(invitations, users, mailer)
			require.Equal(t, tc.want, sender.Send(context.Background(), "evt_1", data))
		})
	}
}

// An outage ends nothing, and is told once.
func TestRepairerRunSurvivesOutages(t *testing.T) {
	t.Parallel()
	ctrl := gomock.NewController(t)
	batches := mock.NewMockBatchRepository(ctrl)
	looks := make(chan error) // unbuffered: each look takes what it shall answer
	batches.EXPECT().TakeOpen(gomock.Any(), start, gomock.Any(), gomock.Any()).DoAndReturn(
		func(ctx context.Context, _ time.Time, _ time.Duration, _ int) ([]authentication.Batch, error) {
			select {
			case err := <-looks:
				return nil, err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}).AnyTimes()
	told := make(chan error, 10)
	r := usecase.NewRepairer(usecase.RepairDeps{
		Batches: batches, Invitations: mock.NewMockInvitationRepository(ctrl), Mails: mock.NewMockMailOutcomes(ctrl),
		Progress: mock.NewMockProgressTracker(ctrl), Clock: &fakeClock{start}, Every: time.Millisecond,
		Failed: func(err error) { told <- err },
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	second := errors.New("the second outage")
	for _, answer := range []error{nil, errBroken, errBroken, errBroken, nil, second, nil} {
		looks <- answer
	}
	stop()
	require.NoError(t, <-ended)
	close(told)
	var all []error
	for err := range told {
		all = append(all, err)
	}
	require.Equal(t, []error{errBroken, second}, all)
}

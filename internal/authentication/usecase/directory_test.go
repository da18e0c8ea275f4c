package usecase_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/mock"
	"github.com/smap-platform/identity/internal/authentication/usecase"
)

var (
	anAdmin = authentication.Actor{UserID: "019c1000-0000-7000-8000-00000000000a", Admin: true}
	aUser   = authentication.Actor{UserID: userID}
)

func newDirectory(t *testing.T) (*usecase.Directory, *mock.MockUserDirectory) {
	t.Helper()
	users := mock.NewMockUserDirectory(gomock.NewController(t))
	return usecase.NewDirectory(usecase.DirectoryDeps{Tx: &fakeTx{}, Users: users, Audit: &fakeAudit{}, Clock: &fakeClock{now: start}}), users
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	filter := authentication.UserFilter{IDs: []string{userID}, Limit: 15, Offset: 30}

	t.Run("lists for administrators", func(t *testing.T) {
		t.Parallel()
		d, users := newDirectory(t)
		users.EXPECT().List(gomock.Any(), filter).Return([]authentication.User{activeUser()}, 31, nil)
		got, total, err := d.List(context.Background(), anAdmin, filter)
		require.NoError(t, err)
		require.Equal(t, []authentication.User{activeUser()}, got)
		require.Equal(t, 31, total)
	})

	t.Run("finds for administrators and services", func(t *testing.T) {
		t.Parallel()
		for err, want := range map[error]error{nil: nil, authentication.ErrUserNotFound: authentication.ErrNoUser, errBroken: errBroken} {
			d, users := newDirectory(t)
			user := activeUser()
			if err != nil {
				user = authentication.User{}
			}
			users.EXPECT().ByID(gomock.Any(), userID).Return(user, err).Times(2)
			got, gotErr := d.Find(context.Background(), anAdmin, userID)
			require.ErrorIs(t, gotErr, want)
			require.Equal(t, user, got)
			got, gotErr = d.FindForService(context.Background(), userID)
			require.ErrorIs(t, gotErr, want)
			require.Equal(t, user, got)
		}
	})

	t.Run("shows users nothing of others, and nothing of themselves that is for administrators", func(t *testing.T) {
		t.Parallel()
		d, _ := newDirectory(t) // which is not asked
		_, _, err := d.List(context.Background(), aUser, filter)
		require.ErrorIs(t, err, authentication.ErrForbidden)
		_, err = d.Find(context.Background(), aUser, userID)
		require.ErrorIs(t, err, authentication.ErrForbidden)
	})
}

func TestUpdateProfile(t *testing.T) {
	t.Parallel()
	name, sameName, avatar, bad := " Bình ", "Nguyễn An", "https://a.example/b.png", "a\x00"
	trimmed := "Bình"
	user := activeUser()
	user.FullName = sameName

	t.Run("stores what changes", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct{ given, stored authentication.Profile }{
			{authentication.Profile{FullName: &name}, authentication.Profile{FullName: &trimmed}},
			{authentication.Profile{FullName: &sameName, AvatarURL: &avatar}, authentication.Profile{AvatarURL: &avatar}},
		} {
			d, users := newDirectory(t)
			users.EXPECT().UpdateProfile(gomock.Any(), userID, tt.stored, start).Return(activeUser(), nil)
			got, err := d.UpdateProfile(context.Background(), user, tt.given)
			require.NoError(t, err)
			require.Equal(t, activeUser(), got)
		}
	})

	t.Run("stores nothing when nothing changes", func(t *testing.T) {
		t.Parallel()
		for _, given := range []authentication.Profile{{}, {FullName: &sameName}} {
			d, _ := newDirectory(t)
			got, err := d.UpdateProfile(context.Background(), user, given)
			require.NoError(t, err)
			require.Equal(t, user, got)
		}
	})

	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		d, users := newDirectory(t)
		_, err := d.UpdateProfile(context.Background(), user, authentication.Profile{FullName: &bad})
		require.ErrorIs(t, err, authentication.ErrProfile)
		for err, want := range map[error]error{authentication.ErrUserNotFound: authentication.ErrUnauthenticated, errBroken: errBroken} {
			users.EXPECT().UpdateProfile(gomock.Any(), userID, gomock.Any(), start).Return(authentication.User{}, err)
			got, gotErr := d.UpdateProfile(context.Background(), user, authentication.Profile{FullName: &name})
			require.ErrorIs(t, gotErr, want)
			require.Zero(t, got)
		}
	})
}

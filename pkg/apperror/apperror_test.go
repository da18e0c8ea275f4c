package apperror_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/apperror"
)

var (
	errMissing = apperror.New(apperror.NotFound, 130002, "Subscription not found")
	errFire    = errors.New("the database is on fire")
)

func TestError(t *testing.T) {
	t.Parallel()
	t.Run("matches every copy of its sentinel", func(t *testing.T) {
		t.Parallel()
		for name, err := range map[string]error{
			"itself":      errMissing,
			"with cause":  errMissing.WithCause(errFire),
			"with fields": errMissing.WithFields(map[string]string{"id": "unknown"}),
			"wrapped":     fmt.Errorf("reading: %w", errMissing.WithCause(errFire)),
			"joined":      errors.Join(errFire, errMissing),
		} {
			require.ErrorIs(t, err, errMissing, name)
		}
		for name, err := range map[string]error{
			"another code": apperror.New(apperror.NotFound, 10002, "User not found"),
			"another kind": apperror.New(apperror.Conflict, 130002, "Subscription not found"),
			"foreign":      errors.New("Subscription not found"),
			"nil":          nil,
		} {
			require.NotErrorIs(t, err, errMissing, name)
		}
		require.NotErrorIs(t, errMissing, errMissing.Unwrap(), "a sentinel has no cause")
	})

	t.Run("keeps the cause for the log", func(t *testing.T) {
		t.Parallel()
		err := fmt.Errorf("cancelling: %w", errMissing.WithCause(errFire))
		require.ErrorIs(t, err, errFire)
		var found *apperror.Error
		require.ErrorAs(t, err, &found)
		require.Equal(t, "Subscription not found: the database is on fire", found.Error())
		require.Equal(t, "Subscription not found", found.Message, "a client sees no cause")
	})

	t.Run("never changes a sentinel", func(t *testing.T) {
		t.Parallel()
		sentinel := apperror.New(apperror.Invalid, 20001, "Wrong body")
		fields := map[string]string{"email": "is required"}
		first := sentinel.WithFields(fields)
		second := first.WithCause(errFire)
		third := second.WithFields(map[string]string{"password": "is too short"})
		fields["email"] = "changed by its owner"
		fields["otp"] = "added by its owner"

		require.Equal(t, apperror.New(apperror.Invalid, 20001, "Wrong body"), sentinel)
		require.Equal(t, map[string]string{"email": "is required"}, first.Fields)
		require.NoError(t, first.Unwrap())
		require.Equal(t, map[string]string{"email": "is required"}, second.Fields)
		require.Equal(t, map[string]string{"password": "is too short"}, third.Fields)
		require.ErrorIs(t, third.Unwrap(), errFire)
		require.Nil(t, third.WithFields(nil).Fields)
	})
}

func TestFrom(t *testing.T) {
	t.Parallel()
	require.Same(t, errMissing, apperror.From(errMissing))
	require.Same(t, errMissing, apperror.From(fmt.Errorf("one: %w", fmt.Errorf("two: %w", errMissing))))
	require.Same(t, errMissing, apperror.From(errors.Join(errFire, errMissing)))

	outer := apperror.New(apperror.Unavailable, 503, "Try again later").WithCause(errMissing)
	require.Same(t, outer, apperror.From(fmt.Errorf("reading: %w", outer)), "the outermost decides")

	foreign := apperror.From(fmt.Errorf("reading: %w", errFire))
	require.Equal(t, apperror.Internal, foreign.Kind)
	require.Equal(t, 500, foreign.Code)
	require.NotContains(t, foreign.Message, "fire", "its text is never shown")
	require.ErrorIs(t, foreign, errFire, "but kept for the log")
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	require.Equal(t, apperror.NotFound, apperror.KindOf(fmt.Errorf("reading: %w", errMissing)))
	require.Equal(t, apperror.Internal, apperror.KindOf(errFire))
}

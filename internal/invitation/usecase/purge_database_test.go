package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

func TestPurgeOnDatabase(t *testing.T) {
	t.Parallel()

	t.Run("frees addresses and forgets people who never came", onDatabase(func(f flow) {
		batch := f.invite(append(people(1100), "accepted@example.com", "proved@example.com")...)
		events := f.sent(batch)
		_, err := f.Accept(context.Background(), token(events[1100]), "correct horse", client)
		require.NoError(f, err)
		client := authentication.Client{Browsers: []string{authentication.NewBrowser()}}
		_, err = f.people.Register(context.Background(),
			authentication.Credentials{Email: "proved@example.com", Password: "correct horse"}, client)
		require.NoError(f, err)
		sent := f.events.Events()
		code := sent[len(sent)-1].Data.(event.VerificationRequested).OTPCode
		_, err = f.people.Verify(context.Background(), "proved@example.com", code, client)
		require.NoError(f, err)

		purge := func(at time.Time) int64 {
			n, err := f.purge.PurgeExpired(context.Background(), at)
			require.NoError(f, err)
			return n
		}
		require.Zero(f, purge(now.Add(7*day-time.Microsecond)))
		require.Equal(f, int64(1), purge(now.Add(7*day)), "the first expires first")
		require.Equal(f, int64(1099), purge(now.Add(8*day)))
		require.Zero(f, purge(now.Add(8*day)))
		require.Equal(f, 3, f.rows("users WHERE deleted_at IS NULL"), "the administrator and who has proved their address")
		f.clock.now = now.Add(8 * day)
		f.invite(people(1)...)
		f.exec("UPDATE users SET deleted_at = $1 WHERE username = 'accepted@example.com'", f.clock.now)

		n, err := f.purge.PurgeBatches(context.Background(), now.Add(7*day))
		require.NoError(f, err)
		require.Equal(f, int64(1), n)
		require.Equal(f, 1, f.rows("invitations"))
		require.Equal(f, 4, f.rows("users"), "people stay, deleted ones as well; of those who never came nothing does")
	}))
}

package usecase_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/invitation/usecase"
	"github.com/smap-platform/identity/pkg/database"
)

func TestInviteOnDatabase(t *testing.T) {
	t.Parallel()

	t.Run("leads to a login", onDatabase(func(f flow) {
		batch := f.invite("An@Example.com", "binh@example.com")
		require.Equal(f, int64(2), f.progress.totals[batch])
		events := f.sent(batch)
		require.Len(f, events, 2)
		for i, e := range events {
			require.Equal(f, batch, e.ProjectID)
			require.Equal(f, now.Add(time.Duration(i)*time.Second/perSecond), e.NotBefore)
			require.Equal(f, e.NotBefore.Add(7*24*time.Hour), e.Data.(event.InvitationMail).ExpiresAt)
		}
		data := events[0].Data.(event.InvitationMail)
		require.Equal(f, "An@Example.com", data.Recipient)
		require.Equal(f, "vi", data.Locale)
		invitedUser, err := f.users.ByID(context.Background(), data.UserID)
		require.NoError(f, err)
		require.Equal(f, authentication.User{
			ID: data.UserID, Email: "An@Example.com", Role: authentication.RoleUser, Locale: "vi", CreatedAt: now, UpdatedAt: now,
		}, invitedUser)
		require.Zero(f, f.rows("invitations WHERE event_id LIKE $1", "%"+data.Token+"%"), "the token is nowhere")

		session, err := f.Accept(context.Background(), data.Token, "correct horse", client)
		require.NoError(f, err)
		require.Equal(f, "token of "+data.UserID, session.Token)
		accepted, err := f.users.ByID(context.Background(), data.UserID)
		require.NoError(f, err)
		require.True(f, accepted.Active)
		require.Equal(f, "correct horse", accepted.PasswordHash)
		require.Equal(f, 1, f.trials.started)
		i, err := f.invitations.ByEvent(context.Background(), events[0].ID)
		require.NoError(f, err)
		require.Equal(f, now, i.AcceptedAt)

		_, err = f.Accept(context.Background(), data.Token, "another horse", client)
		require.ErrorIs(f, err, invitation.ErrUsed)
		_, err = f.people.Login(context.Background(), authentication.Credentials{Email: "an@example.com", Password: "correct horse"},
			false, authentication.Client{})
		require.NoError(f, err)

		f.clock.now = now.Add(8 * 24 * time.Hour)
		_, err = f.Accept(context.Background(), token(events[1]), "correct horse", client)
		require.ErrorIs(f, err, invitation.ErrExpired)
		unknown, _ := tokenKey.NewToken()
		_, err = f.Accept(context.Background(), unknown, "correct horse", client)
		require.ErrorIs(f, err, invitation.ErrInvalid)
	}))

	t.Run("rejects lines without stopping the others", onDatabase(func(f flow) {
		f.invite("invited@example.com")
		long := strings.Repeat("ấ", 400)
		invited, rejected, err := f.try("", "new@example.com", "no address", "Admin@Example.com", "NEW@example.com",
			"invited@example.com", "", long, "other@example.com")
		require.NoError(f, err)
		require.Equal(f, int64(2), invited.Accepted)
		require.ElementsMatch(f, []rejection{
			{2, "no address", "invalid"}, {3, "Admin@Example.com", "exists"}, {4, "NEW@example.com", "duplicate"},
			{5, "invited@example.com", "exists"}, {6, "", "invalid"}, {7, strings.Repeat("ấ", 254/3), "invalid"},
		}, rejected)
		require.Len(f, f.sent(invited.BatchID), 2)
		require.Equal(f, int64(2), f.progress.totals[invited.BatchID])
	}))

	t.Run("opens no project when nothing is accepted", onDatabase(func(f flow) {
		invited, _, err := f.try("", "admin@example.com", "x")
		require.NoError(f, err)
		require.Zero(f, invited.Accepted)
		require.NotContains(f, f.progress.totals, invited.BatchID)
		require.Empty(f, f.events.Events())
		require.Equal(f, 1, f.rows("invitation_batches WHERE total = 0 AND completed_at IS NOT NULL"))
		f.clock.now = now.Add(time.Hour)
		n, err := f.repair.Repair(context.Background())
		require.NoError(f, err)
		require.Zero(f, n)
	}))

	t.Run("stores nothing of a list without an address", onDatabase(func(f flow) {
		for _, addresses := range [][]string{{}, {""}, {"Lan", "Hoa"}, {"a\x00@\x00x\x00"}} {
			_, _, err := f.try("", addresses...)
			require.ErrorIs(f, err, invitation.ErrUpload)
		}
		require.Zero(f, f.rows("invitation_batches"))
		require.Empty(f, f.progress.totals)
	}))

	t.Run("leaves nothing behind when it fails", onDatabase(func(f flow) {
		f.events.Err = errors.New("the outbox is full")
		_, _, err := f.try("key", people(3)...)
		require.ErrorIs(f, err, f.events.Err)
		for _, table := range []string{"invitation_batches", "invitations", "outbox", "mail_pace", "invitation_reports"} {
			require.Zero(f, f.rows(table), table)
		}
		require.Equal(f, 1, f.rows("users"), "the administrator")
		f.events.Err = nil
		_, _, err = f.try("key", people(3)...)
		require.NoError(f, err, "the key is free")
	}))

	t.Run("returns the same for the same key", onDatabase(func(f flow) {
		addresses := append(people(700), "x", "person-00001@example.com")
		first, rejected, err := f.try("key", addresses...)
		require.NoError(f, err)
		require.Len(f, rejected, 2)
		f.progress.failed, f.progress.totals = map[string]map[string]bool{}, map[string]int64{}
		again, rejectedAgain, err := f.try("key", addresses...)
		require.NoError(f, err)
		require.Equal(f, first, again)
		require.Equal(f, rejected, rejectedAgain)
		require.Len(f, f.sent(first.BatchID), 700)
		require.Equal(f, int64(700), f.progress.totals[first.BatchID], "and the project is there if it was not")

		_, _, err = f.try("key", "another@example.com")
		require.ErrorIs(f, err, invitation.ErrKeyReused)
		other, _, err := f.try("another key", addresses...)
		require.NoError(f, err)
		require.Zero(f, other.Accepted, "without the key they are all there already")
		f.actor.UserID = f.createAdmin("second@example.com").ID
		_, _, err = f.try("key", "another@example.com")
		require.NoError(f, err, "another administrator's key is another key")
	}))

	t.Run("returns the same for the same key at the same time", onDatabase(func(f flow) {
		addresses := people(600)
		ids := make(chan string, 4)
		for range cap(ids) {
			one := f
			one.UseCase = usecase.New(f.deps) // another process
			go func() {
				invited, _, err := one.try("key", addresses...)
				if err != nil {
					ids <- err.Error()
					return
				}
				ids <- invited.BatchID
			}()
		}
		first := <-ids
		for range cap(ids) - 1 {
			require.Equal(f, first, <-ids)
		}
		require.Equal(f, 600, f.rows("invitations"))
		require.Equal(f, 600, f.rows("outbox"))
	}))

	// A large report is stored in parts; a gzipped list of random addresses does not get small.
	t.Run("keeps a large report whole", onDatabase(func(f flow) {
		addresses := make([]string, 6_000)
		addresses[0] = "lan@example.com"
		for i := 1; i < len(addresses); i++ {
			sum := sha256.Sum256(fmt.Append(nil, i))
			addresses[i] = fmt.Sprintf("%x%x", sum, sha256.Sum256(sum[:]))
		}
		_, rejected, err := f.try("key", addresses...)
		require.NoError(f, err)
		require.Len(f, rejected, len(addresses)-1)
		require.Greater(f, f.rows("invitation_reports"), 1)
		_, again, err := f.try("key", addresses...)
		require.NoError(f, err)
		require.Equal(f, rejected, again)
	}))

	// Two processes get the same people in opposite orders: without the pace's lock they would wait for each other.
	t.Run("does not deadlock with an upload that shares addresses", onDatabase(func(f flow) {
		f.invite("another@example.com") // the pace is there from the first batch on
		there := people(2_000)
		back := make([]string, len(there))
		for i, address := range there {
			back[len(back)-1-i] = address
		}
		accepted := make(chan int64, 2)
		for _, addresses := range [][]string{there, back} {
			one := f
			one.UseCase = usecase.New(f.deps)
			go func() {
				invited, _, err := one.try("", addresses...)
				if err != nil {
					invited.Accepted = -1
				}
				accepted <- invited.Accepted
			}()
		}
		require.ElementsMatch(f, []int64{0, 2_000}, []int64{<-accepted, <-accepted})
		require.Equal(f, 2_001, f.rows("invitations"))
	}))

	t.Run("shares one pace among batches", onDatabase(func(f flow) {
		first, second := f.invite("a@example.com", "b@example.com", "c@example.com"), f.invite("d@example.com")
		require.Equal(f, now.Add(3*gap), f.sent(second)[0].NotBefore, "behind %s", first)
		f.clock.now = now.Add(time.Minute)
		third := f.invite("e@example.com")
		require.Equal(f, f.clock.now, f.sent(third)[0].NotBefore, "nothing is left to wait for")
		require.Equal(f, 1, f.rows("outbox WHERE available_at = $1 AND batch_id = $2", f.clock.now, third))
	}))

	t.Run("is for administrators", onDatabase(func(f flow) {
		batch := f.invite("an@example.com")
		f.actor.Admin = false
		_, _, err := f.try("", "new@example.com")
		require.ErrorIs(f, err, invitation.ErrForbidden)
		_, err = f.Cancel(context.Background(), f.actor, batch)
		require.ErrorIs(f, err, invitation.ErrForbidden)
		require.Equal(f, 1, f.rows("invitation_batches"))
	}))

	t.Run("refuses too many addresses", onDatabase(func(f flow) {
		_, _, err := f.try("", make([]string, invitation.MaxInvitations+1)...)
		require.ErrorIs(f, err, invitation.ErrUpload)
		require.Zero(f, f.rows("invitation_batches"))
		if f.db.Dialect() == database.SQLite {
			most := make([]string, invitation.MaxInvitations)
			most[0] = "lan@example.com"
			_, rejected, err := f.try("", most...)
			require.NoError(f, err)
			require.Len(f, rejected, invitation.MaxInvitations-1)
		}
	}))

	t.Run("does not keep anybody from registering", onDatabase(func(f flow) {
		batch := f.invite("an@example.com", "binh@example.com")
		an, binh := token(f.sent(batch)[0]), token(f.sent(batch)[1])
		c := authentication.Credentials{Email: "An@Example.com", Password: "correct horse"}
		client := authentication.Client{Browsers: []string{authentication.NewBrowser()}}
		_, err := f.people.SendCode(context.Background(), c, client)
		require.ErrorIs(f, err, authentication.ErrWrongPassword)
		_, err = f.people.Register(context.Background(), c, client)
		require.NoError(f, err)
		all := f.events.Events()
		code := all[len(all)-1].Data.(event.VerificationRequested)
		require.Equal(f, "An@Example.com", code.Recipient, "as the person types it, not as they were invited")
		session, err := f.people.Verify(context.Background(), "an@example.com", code.OTPCode, client)
		require.NoError(f, err)
		require.Equal(f, 1, f.trials.started)
		_, err = f.Accept(context.Background(), an, "another horse", client)
		require.ErrorIs(f, err, invitation.ErrUsed, "the user keeps their password")
		user, err := f.users.ByID(context.Background(), session.User.ID)
		require.NoError(f, err)
		require.Equal(f, "correct horse", user.PasswordHash)

		// A user who registers another's address cannot verify it; the owner's invitation overrules them.
		squatter := authentication.Credentials{Email: "binh@example.com", Password: "not binh's"}
		_, err = f.people.Register(context.Background(), squatter, client)
		require.NoError(f, err)
		_, err = f.Accept(context.Background(), binh, "binh's own", client)
		require.NoError(f, err)
		_, err = f.people.Login(context.Background(), squatter, false, client)
		require.ErrorIs(f, err, authentication.ErrNotVerified, "nothing tells that binh has an account now")
	}))
}

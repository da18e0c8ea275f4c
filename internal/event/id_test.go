package event

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckID(t *testing.T) {
	t.Parallel()
	handle := Handle(func(context.Context, Received, ProjectCreatedData) error { return nil })
	for id, good := range map[string]bool{
		"p": true, "Dự án 日本": true, strings.Repeat("x", 255): true,
		strings.Repeat("x", 256): false, `a\u0000b`: false, `a\u001bb`: false, `a\ud800b`: false, "a\xffb": false,
	} {
		for _, body := range []string{
			`{"event_id":"` + id + `","payload":{"project_id":"p","user_id":"u"}}`,
			`{"event_id":"e","payload":{"project_id":"` + id + `","user_id":"u"}}`,
			`{"event_id":"e","payload":{"project_id":"p","user_id":"` + id + `"}}`,
		} {
			err := handle(t.Context(), Delivery{Message: Message{Body: []byte(body)}})
			if good {
				require.NoError(t, err, body)
				continue
			}
			reason, _ := Ended(err)
			require.Equal(t, ReasonInvalid, reason, body)
			require.NotContains(t, err.Error(), id)
		}
	}
}

// Ids of projects and users become parts of keys and channels, whichever event brings them.
func TestCheckPartID(t *testing.T) {
	t.Parallel()
	const until = `"expires_at":"2026-01-31T09:30:00Z"`
	const state = `"version":1,"subscription_id":"s","user_id":"u","plan_code":"p","status":"trialing","new_status":"active"`
	for name, c := range map[string]struct {
		handle Handler
		data   string
		ids    []string // of data
	}{
		"project.created": {
			Handle(ignore[ProjectCreatedData]), `"project_id":"p","user_id":"u"`, []string{"project_id", "user_id"},
		},
		"email.verification.requested": {
			Handle(ignore[VerificationRequested]), `"user_id":"u","recipient":"r","otp_code":"1",` + until, []string{"user_id"},
		},
		"invitation.requested": {
			Handle(ignore[InvitationMail]), `"user_id":"u","recipient":"r","token":"t",` + until, []string{"user_id"},
		},
		"email.project_completed.requested": {
			Handle(ignore[ProjectCompletedMail]), `"recipient":"r","project_id":"p"`, []string{"project_id"},
		},
		"email.trial_ending.requested": {
			Handle(ignore[TrialEndingMail]),
			`"user_id":"u","recipient":"r","plan_code":"free","days_left":3,"trial_end":"2026-01-31T09:30:00Z"`, []string{"user_id"},
		},
		"subscription.created":        {Handle(ignore[SubscriptionCreatedData]), state, []string{"user_id"}},
		"subscription.cancelled":      {Handle(ignore[SubscriptionCancelledData]), state, []string{"user_id"}},
		"subscription.status_changed": {Handle(ignore[SubscriptionStatusChangedData]), state, []string{"user_id"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(projectID, data string) error {
				body := `{"event_id":"evt:1","payload":{"project_id":"` + projectID + `","data":{` + data + `}}}`
				return c.handle(t.Context(), Delivery{Message: Message{Body: []byte(body)}})
			}
			require.NoError(t, run("p", c.data))
			for _, bad := range []string{"a:items", `a\u0007`, `\u0085`, strings.Repeat("x", 256)} {
				errs := []error{run(bad, c.data)}
				for _, id := range c.ids {
					old := regexp.MustCompile(`"` + id + `":"[^"]*"`).FindString(c.data)
					errs = append(errs, run("p", strings.Replace(c.data, old, `"`+id+`":"`+bad+`"`, 1)))
				}
				for _, err := range errs {
					reason, _ := Ended(err)
					require.Equal(t, ReasonInvalid, reason)
					require.NotContains(t, err.Error(), bad)
				}
			}
		})
	}
}

func ignore[T Payload](context.Context, Received, T) error { return nil }

package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/heartbeat"
)

// halted are the sources of a service whose lane of codes a person has paused.
func halted(h event.Halt, reports ...*event.Halt) Sources {
	s := well()
	s.Halts = func(context.Context) (map[string]event.Halt, error) { return map[string]event.Halt{email.Name: h}, nil }
	s.Processes = func(context.Context) ([]heartbeat.Process, error) {
		all := []heartbeat.Process{process("api", "1.1", Report{}), process("consumer", "1.1", Report{})}
		for _, r := range reports {
			all = append(all, process("consumer", "1.1", Report{Lanes: []event.LaneState{{Queue: email.Name, Halt: r}}}))
		}
		return all, nil
	}
	depths := s.Depths
	s.Depths = func(ctx context.Context, names []string) (map[string]event.Depth, error) {
		all, err := depths(ctx, names)
		all[email.Name] = event.Depth{Ready: 3} // nobody consumes it
		return all, err
	}
	return s
}

func TestPausedByAPerson(t *testing.T) {
	t.Parallel()
	h := event.Halt{By: "an", Reason: "the server moves", Since: now.Add(-time.Minute)}

	t.Run("is said, and by how many processes it is obeyed", func(t *testing.T) {
		t.Parallel()
		f := halted(h, &h, nil).Gather(t.Context())
		require.Equal(t, []Lane{{Queue: email.Name, Processes: 2, Halt: &h, Halted: 1}}, f.Lanes)
		require.Equal(t, "paused by an since 2026-01-31 09:29:00 (the server moves), as 1 of 2 processes say", f.Lanes[0].String())
		require.Equal(t, time.Minute, f.Lanes[0].HaltedFor(now))
		require.Equal(t, []Problem{{
			Alert: "LanePausedByOperator",
			What:  "an has paused identity.email since 2026-01-31 09:29:00 (the server moves): none of its mails leaves",
			Next:  "Once the reason is gone: consumer lane resume identity.email --by NAME",
		}}, Judge(f), "which is why nobody consumes the queue")
	})
	t.Run("is apart from the pause by a refusal", func(t *testing.T) {
		t.Parallel()
		s := halted(h)
		s.Processes = func(context.Context) ([]heartbeat.Process, error) {
			refused := paused(now, "smtp_connect")
			refused.Halt = &h
			return []heartbeat.Process{process("api", "1.1", Report{}), process("consumer", "1.1", Report{Lanes: []event.LaneState{refused}})}, nil
		}
		f := s.Gather(t.Context())
		require.Equal(t, "paused by an since 2026-01-31 09:29:00 (the server moves); paused since 2026-01-31 09:30:00: smtp_connect", f.Lanes[0].String())
		var alerts []string
		for _, p := range Judge(f) {
			alerts = append(alerts, p.Alert)
		}
		require.Equal(t, []string{"MailIsPaused", "LanePausedByOperator"}, alerts)
	})
	t.Run("is worse after an hour", func(t *testing.T) {
		t.Parallel()
		for age, pages := range map[time.Duration]bool{time.Hour - time.Second: false, time.Hour: true} {
			f := halted(event.Halt{By: "an", Since: now.Add(-age)}, &h).Gather(t.Context())
			problems := Judge(f)
			require.Len(t, problems, 1)
			require.Equal(t, pages, problems[0].Page)
			require.NotContains(t, problems[0].What, "()")
		}
	})
	t.Run("keeps what is owed from paging anybody: an operator is at work", func(t *testing.T) {
		t.Parallel()
		f := halted(h, &h).Gather(t.Context())
		f.Mails = &Mails{1, MailOwedFor + 1}
		for _, p := range Judge(f) {
			require.False(t, p.Page, p.What)
		}
		require.Len(t, Judge(f), 2)
	})
	t.Run("is said while no consumer lives", func(t *testing.T) {
		t.Parallel()
		f := halted(h).Gather(t.Context())
		require.Equal(t, []Lane{{Queue: email.Name, Halt: &h}}, f.Lanes)
		f.Lanes[0].Halt = nil
		require.Equal(t, "no living process sends it", f.Lanes[0].String())
	})
	t.Run("is over when it is, whatever processes said before", func(t *testing.T) {
		t.Parallel()
		s := halted(h, &h)
		s.Halts = func(context.Context) (map[string]event.Halt, error) { return nil, nil }
		f := s.Gather(t.Context())
		require.Equal(t, []Lane{{Queue: email.Name, Processes: 1}}, f.Lanes)
		require.Equal(t, "open", f.Lanes[0].String())
		require.Zero(t, f.Lanes[0].HaltedFor(now))
	})
	t.Run("is what processes say where the database does not", func(t *testing.T) {
		t.Parallel()
		s := halted(h, &h)
		s.Halts = func(context.Context) (map[string]event.Halt, error) { return nil, errors.New("does not respond") }
		f := s.Gather(t.Context())
		require.Equal(t, []Lane{{Queue: email.Name, Processes: 1, Halt: &h, Halted: 1}}, f.Lanes)
		require.Equal(t, []string{"which lanes a person has paused: does not respond"}, f.Unknown)
	})
	t.Run("has fields of its own for programs", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		f := halted(h, &h).Gather(t.Context())
		require.NoError(t, WriteJSON(&out, f, Judge(f)))
		var read struct{ Lanes []json.RawMessage }
		require.NoError(t, json.Unmarshal(out.Bytes(), &read))
		require.JSONEq(t, `{"queue": "identity.email", "paused": false, "processes": 1, "obeyed_by": 1, "paused_by_operator":
			{"by": "an", "reason": "the server moves", "since": "2026-01-31T09:29:00Z"}}`, string(read.Lanes[0]))
	})
	t.Run("lists every lane", func(t *testing.T) {
		t.Parallel()
		all := Lanes([]string{state.Name, email.Name}, nil, map[string]event.Halt{email.Name: h}, now)
		require.Equal(t, []Lane{{Queue: email.Name, Halt: &h}, {Queue: state.Name}}, all)
	})
}

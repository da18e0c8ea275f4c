package legacy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

func TestPhase(t *testing.T) {
	t.Parallel()
	require.Equal(t, []Phase{Prepare, Dual, Cutover, Complete}, Phases)
	for phase, want := range map[Phase]struct {
		fanout, topic, declares, returnable, mixed bool
		next                                       Phase
	}{
		Prepare:  {true, false, true, true, true, Dual},
		Dual:     {true, true, true, true, false, Cutover},
		Cutover:  {false, true, true, true, false, Complete},
		Complete: {false, true, false, false, false, Complete},
	} {
		require.Equal(t, want.fanout, phase.Fanout(), phase)
		require.Equal(t, want.fanout, phase.Leaves(event.EmailVerificationRequested), phase)
		require.False(t, phase.Leaves(event.InvitationRequested), phase)
		require.Equal(t, want.topic, phase.Topic(), phase)
		require.Equal(t, want.declares, phase.Declares(), phase)
		require.Equal(t, want.returnable, phase.Returnable(), phase)
		require.Equal(t, want.mixed, phase.Mixed(), phase)
		require.Equal(t, want.next, phase.Next(), phase)
	}
}

package mailer

import (
	"context"
	"net/textproto"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whom a reply refuses, and so whether the mail may be sent again.
func TestRefusal(t *testing.T) {
	t.Parallel()
	before := []string{verbGreeting, verbEHLO, verbSTARTTLS, verbAUTH, verbRSET}
	content := []string{verbDATA, verbEndOfData}
	for _, c := range []struct {
		verbs   []string
		replies []string
		of      Party
	}{
		{before, []string{"421 4.7.0", "450", "454 4.7.0", "530 5.7.0", "535 5.7.8", "550 5.1.1", "552", "554 5.6.0", "554 5.7.1"}, Us},
		{[]string{verbMAIL}, []string{"421 4.3.2", "451 4.7.1", "452", "503", "530 5.7.0", "550", "550 5.1.1", "550 5.7.60", "553 5.1.8", "554 5.7.1"}, Us},
		{[]string{verbMAIL}, []string{"552", "552 5.3.4", "554 5.3.4", "554 5.6.1", "552 5.2.2"}, Message},
		{[]string{verbRCPT}, []string{"550", "551", "553", "550 5.1.1", "550 5.1.10", "553 5.1.3", "556 5.1.10", "552 5.2.2", "550 5.2.1"}, Recipient},
		{[]string{verbRCPT}, []string{
			"421 4.7.0", "450 4.2.0", "450", "451 4.7.1", "452 4.2.2", "500", "504 5.5.2", "530 5.7.0", "550 5.4.5", "550 5.7.1",
			"550 5.1.7", "553 5.1.8", "552", "552 5.3.4", "554", "554 5.7.1", "555 5.5.4", "550 5.0.0", "450 5.1.1",
		}, Unclear},
		{content, []string{"552", "552 5.3.4", "554 5.6.0", "550 5.6.1", "552 5.2.2"}, Message},
		{content, []string{"421", "450", "451 4.3.0", "452 4.3.1", "500", "550", "550 5.1.1", "550 5.7.1", "554", "554 5.7.1", "451 5.6.0"}, Unclear},
	} {
		for _, verb := range c.verbs {
			for _, reply := range c.replies {
				err := newError(context.Background(), verb, &textproto.Error{Code: number(t, reply[:3]), Msg: reply[min(4, len(reply)):]})
				require.Equal(t, c.of, err.Of, "%s at %s", reply, verb)
				require.Equal(t, c.of == Recipient || c.of == Message, err.Class == Permanent, "%s at %s", reply, verb)
			}
		}
	}
	t.Run("neither a yes nor a no after the dot is ambiguous", func(t *testing.T) {
		t.Parallel()
		for _, code := range []int{100, 199, 300, 354} {
			require.Equal(t, Ambiguous, newError(context.Background(), verbEndOfData, &textproto.Error{Code: code}).Class)
		}
	})
}

func number(t *testing.T, digits string) (n int) {
	t.Helper()
	for _, d := range digits {
		require.True(t, d >= '0' && d <= '9')
		n = 10*n + int(d-'0')
	}
	return n
}

package rabbitmq

import (
	"errors"
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

func TestPlain(t *testing.T) {
	t.Parallel()
	said := &amqp.Error{
		Code: amqp.NotAllowed, Server: true,
		Reason: `NOT_ALLOWED - vhost ,amqp://u:hunter2@b:5672/ not found`,
	}
	const want = "the user may not use the virtual host, or it does not exist (code 530)"
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"what the server said":            {said, want},
		"wrapped":                         {fmt.Errorf("rabbitmq: connecting: %w", said), "rabbitmq: connecting: " + want},
		"wrapped twice":                   {fmt.Errorf("b: %w", fmt.Errorf("a: %w", said)), "b: a: " + want},
		"joined":                          {errors.Join(errors.New("first"), said), "first\n" + want},
		"beside another":                  {fmt.Errorf("%w: %w", amqp.ErrVhost, said), amqp.ErrVhost.Error() + ": " + want},
		"a code that is new":              {&amqp.Error{Code: 999, Server: true, Reason: "hunter2"}, "the server refuses it (code 999)"},
		"what the library says":           {amqp.ErrClosed, amqp.ErrClosed.Error()},
		"plain already":                   {Plain(Plain(said)), want},
		"nothing the server has said":     {errors.New("dial tcp: refused"), "dial tcp: refused"},
		"the same twice, in one sentence": {fmt.Errorf("%w, %w", said, said), want + ", " + want},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := Plain(test.err)
			require.EqualError(t, err, test.want)
			require.NotContains(t, err.Error(), "hunter2")
			require.ErrorIs(t, err, test.err)
		})
	}
	require.NoError(t, Plain(nil))
}

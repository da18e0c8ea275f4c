package notification_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification"
)

func TestRecipientKey(t *testing.T) {
	t.Parallel()
	codeKey := []byte("a key of thirty-two bytes, really")
	key := notification.NewRecipientKey(codeKey)
	digest := key.Digest("an@example.com")
	require.Len(t, digest, 32)
	require.Equal(t, digest, key.Digest(" An@Example.COM\n"), "an address is one in every case of letters")
	require.NotEqual(t, digest, key.Digest("binh@example.com"))
	require.NotEqual(t, digest, notification.NewRecipientKey([]byte("another")).Digest("an@example.com"))
	require.NotEqual(t, digest, notification.RecipientKey(codeKey).Digest("an@example.com"), "the key of codes is another")
}

package app

import (
	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event/outbox"
)

// accepted returns the key that makes what is new, and behind it the one that is accepted as well, if there is one.
func accepted(key, previous config.Key) [][]byte {
	keys := [][]byte{key}
	if len(previous) > 0 {
		keys = append(keys, previous)
	}
	return keys
}

// codeKeys are the keys of codes, limits and invitations.
func codeKeys(s config.Secrets) [][]byte { return accepted(s.CodeHMAC, s.CodeHMACPrevious) }

// sealKeys are the keys of mails that wait in the database.
func sealKeys(s config.Secrets) [][]byte { return accepted(s.EventsSeal, s.EventsSealPrevious) }

func newSealer(s config.Secrets) (*outbox.Sealer, error) {
	keys := sealKeys(s)
	return outbox.NewSealer(keys[0], keys[1:]...)
}

package app

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smap-platform/identity/config"
)

// savedSecrets is DATA_DIR/secrets.json: the standalone's own keys, so that codes and logins survive a restart.
type savedSecrets struct {
	JWT        []byte `json:"jwt_secret"`
	CodeHMAC   []byte `json:"code_hmac_key"`
	EventsSeal []byte `json:"events_seal_key"`
}

// fillSecrets sets the secrets the environment did not, from the file in dir, which it makes on the first start.
func fillSecrets(s *config.Secrets, dir string) error {
	path := filepath.Join(dir, "secrets.json")
	saved, err := readSecrets(path)
	if errors.Is(err, fs.ErrNotExist) {
		saved, err = makeSecrets(path)
	}
	if err != nil {
		return fmt.Errorf("the keys in %s: %w; delete the folder to start afresh", path, err)
	}
	s.JWT = cmp.Or(s.JWT, config.Secret(saved.JWT))
	if len(s.CodeHMAC) == 0 {
		s.CodeHMAC = saved.CodeHMAC
	}
	if len(s.EventsSeal) == 0 {
		s.EventsSeal = saved.EventsSeal
	}
	return nil
}

func readSecrets(path string) (s savedSecrets, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(raw, &s)
}

func makeSecrets(path string) (savedSecrets, error) {
	var s savedSecrets
	for _, key := range []*[]byte{&s.JWT, &s.CodeHMAC, &s.EventsSeal} {
		*key = make([]byte, 32)
		_, _ = rand.Read(*key) // it never fails
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return s, err
	}
	return s, os.WriteFile(path, append(raw, '\n'), 0o600)
}

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
	JWT         []byte `json:"jwt_secret"`
	CodeHMAC    []byte `json:"code_hmac_key"`
	EventsSeal  []byte `json:"events_seal_key"`
	TrialDigest []byte `json:"trial_digest_key"`
}

// fillSecrets sets the secrets the environment did not, from the file in dir. It makes the file on the first start, and
// adds the keys that an earlier release did not have.
func fillSecrets(s *config.Secrets, dir string) error {
	path := filepath.Join(dir, "secrets.json")
	saved, err := readSecrets(path)
	if err == nil && saved.makeMissing() {
		err = writeSecrets(path, saved)
	}
	if err != nil {
		return fmt.Errorf("the keys in %s: %w; delete the folder to start afresh", path, err)
	}
	s.JWT = cmp.Or(s.JWT, config.Secret(saved.JWT))
	for _, key := range []struct {
		set   *config.Key
		saved []byte
	}{{&s.CodeHMAC, saved.CodeHMAC}, {&s.EventsSeal, saved.EventsSeal}, {&s.TrialDigest, saved.TrialDigest}} {
		if len(*key.set) == 0 {
			*key.set = key.saved
		}
	}
	return nil
}

// readSecrets returns no keys when there is no file.
func readSecrets(path string) (s savedSecrets, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(raw, &s)
}

// makeMissing makes the keys that s lacks and reports whether there were any.
func (s *savedSecrets) makeMissing() (made bool) {
	for _, key := range []*[]byte{&s.JWT, &s.CodeHMAC, &s.EventsSeal, &s.TrialDigest} {
		if len(*key) == 0 {
			*key = make([]byte, 32)
			_, _ = rand.Read(*key) // it never fails
			made = true
		}
	}
	return made
}

// writeSecrets replaces the file at once, so that a crash leaves the keys that were there.
func writeSecrets(path string, s savedSecrets) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

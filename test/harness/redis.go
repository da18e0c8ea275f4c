package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// SecureRedis is a Redis of its own that speaks TLS alone and knows named users alone. Its certificate is for the address
// 127.0.0.1, and not for the name localhost.
type SecureRedis struct {
	Port string
	// Authority is the file of the certificate that makes its own trusted.
	Authority string
}

// Env is the environment of a process that logs in there ("NAME=value").
func (r *SecureRedis) Env(user, password string) []string {
	return []string{
		"REDIS_HOST=127.0.0.1", "REDIS_PORT=" + r.Port, "REDIS_USERNAME=" + user, "REDIS_PASSWORD=" + password,
		"REDIS_TLS=true", "REDIS_STATE_DB=1", "SSL_CERT_FILE=" + r.Authority,
	}
}

// NewSecureRedis starts redis-server for this test with deployments/redis.conf. Each user is what follows the word user
// in Redis's own notation: "identity on >password ~smap:* +@all".
func NewSecureRedis(tb testing.TB, users ...string) *SecureRedis {
	tb.Helper()
	root, err := repository()
	require.NoError(tb, err)
	settings, err := os.ReadFile(filepath.Join(root, "deployments", "redis.conf"))
	require.NoError(tb, err)
	dir := tb.TempDir()
	r := &SecureRedis{Port: freePort(tb, "127.0.0.1"), Authority: filepath.Join(dir, "authority.pem")}
	certificate, key := filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	certify(tb, r.Authority, certificate, key)
	text := string(settings) + fmt.Sprintf(`
bind 127.0.0.1
port 0
tls-port %s
tls-cert-file %s
tls-key-file %s
tls-ca-cert-file %s
tls-auth-clients no
dir %s
user default off
`, r.Port, certificate, key, r.Authority, dir)
	for _, user := range users {
		text += "user " + user + "\n"
	}
	startRedis(tb, dir, r.Port, text)
	return r
}

// NewRedis starts redis-server for this test, without a password, and returns a client and its port.
func NewRedis(tb testing.TB) (client *redis.Client, port string) {
	tb.Helper()
	dir := tb.TempDir()
	port = freePort(tb, "127.0.0.1")
	startRedis(tb, dir, port, fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\n", port, dir))
	client = redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port})
	tb.Cleanup(func() { _ = client.Close() })
	return client, port
}

// startRedis runs redis-server with these settings until the test ends.
func startRedis(tb testing.TB, dir, port, text string) {
	tb.Helper()
	config := filepath.Join(dir, "redis.conf")
	require.NoError(tb, os.WriteFile(config, []byte(text), 0o600)) //nolint:gosec // G703: a folder of the test

	log := newLog()
	command := exec.Command("redis-server", config) //nolint:gosec // G204: a server of the stack
	command.Stdout, command.Stderr = log, log
	require.NoError(tb, command.Start(), "install Redis 7; make stack-up does it on Debian")
	tb.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if lines := log.Lines(0); tb.Failed() {
			tb.Logf("the last lines of Redis:\n  %s", strings.Join(lines[max(0, len(lines)-shownLines):], "\n  "))
		}
	})
	Soon(tb, func() error { return listens("127.0.0.1:" + port) })
}

// certify writes an authority's certificate, and one for 127.0.0.1 that it has signed, with its key.
func certify(tb testing.TB, authority, certificate, key string) {
	tb.Helper()
	write := func(path, kind string, der []byte) {
		require.NoError(tb, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	create := func(template, parent *x509.Certificate, public *ecdsa.PublicKey, signer *ecdsa.PrivateKey) []byte {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
		require.NoError(tb, err)
		return der
	}
	root, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	write(authority, "CERTIFICATE", create(ca, ca, &root.PublicKey, root))
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	write(certificate, "CERTIFICATE", create(leaf, ca, &own.PublicKey, root))
	der, err := x509.MarshalECPrivateKey(own)
	require.NoError(tb, err)
	write(key, "EC PRIVATE KEY", der)
}

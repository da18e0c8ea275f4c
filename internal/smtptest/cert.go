package smtptest

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
)

// testCertificate returns the certificate that net/http/httptest carries for its own servers, and a pool that trusts
// it.
func testCertificate() (*tls.Config, *x509.CertPool) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return &tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12}, pool
}

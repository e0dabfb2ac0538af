package mail

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// A mail server that supports only outdated versions of TLS gets neither the password nor an email
// (OWASP ASVS 5.0 12.1.1).
func TestOutdatedTLS(t *testing.T) {
	t.Parallel()

	certFile, keyFile := storetest.Certificate(t, t.TempDir())
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	testkit.NoError(t, err)
	text, err := os.ReadFile(certFile)
	testkit.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)

	for version, accepted := range map[uint16]bool{
		tls.VersionTLS10: false,
		tls.VersionTLS11: false,
		tls.VersionTLS12: true,
		tls.VersionTLS13: true,
	} {
		listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
			Certificates: []tls.Certificate{certificate},
			MinVersion:   tls.VersionTLS10,
			MaxVersion:   version,
		})
		testkit.NoError(t, err)
		t.Cleanup(func() { _ = listener.Close() })

		handshake := make(chan error, 1)
		go func() {
			conn, err := listener.Accept()
			if err == nil {
				err = conn.(*tls.Conn).Handshake()
				_ = conn.Close()
			}
			handshake <- err
		}()

		s := newSMTP(t, "smtps://"+listener.Addr().String(), roots)
		if err := s.Check(t.Context()); err == nil {
			t.Errorf("%s: got no error, want one, because the server closes the connection", tls.VersionName(version))
		}
		if err := testkit.Receive(t, "a handshake", handshake); (err == nil) != accepted {
			t.Errorf("%s: got handshake error %v, want the version to be accepted: %t", tls.VersionName(version), err, accepted)
		}
	}
}

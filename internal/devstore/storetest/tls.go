package storetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// StartTLSRedis starts a redis-server that accepts only TLS connections. Clients must trust
// the certificate in the file caFile.
func StartTLSRedis(t testing.TB) (server *RedisServer, caFile string) {
	t.Helper()
	suite.Default(t)

	dir := t.TempDir()
	certFile, keyFile := Certificate(t, dir)

	port, err := testkit.FreePort()
	check(t, err)

	server, err = startRedis(t.Cleanup, filepath.Join(dir, "data"),
		"--appendonly", "no",
		"--port", "0",
		"--tls-port", port,
		"--tls-cert-file", certFile,
		"--tls-key-file", keyFile,
		"--tls-ca-cert-file", certFile,
		"--tls-auth-clients", "no")
	check(t, err)

	server.Addr = net.JoinHostPort("127.0.0.1", port)

	return server, certFile
}

// Certificate creates a self-signed certificate for localhost in a directory.
func Certificate(t testing.TB, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)

	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "tests"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:              []string{"localhost"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	certDER, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(t, err)

	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)

	certFile = filepath.Join(dir, "cert.pem")
	keyFile = filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", certDER)
	writePEM(t, keyFile, "PRIVATE KEY", keyDER)

	return certFile, keyFile
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	check(t, os.WriteFile(file, block, 0o600))
}

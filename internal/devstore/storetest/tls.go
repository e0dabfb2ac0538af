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
)

// StartTLSRedis starts a redis-server that speaks TLS and nothing else. What it is to
// be trusted by stands in the file authority.
func StartTLSRedis(t testing.TB) (server *RedisServer, authority string) {
	t.Helper()
	dir := t.TempDir()
	authority, key := Certificate(t, dir)
	port, err := freePort()
	fatal(t, err)
	server, err = startRedis(filepath.Join(dir, "data"), "--appendonly", "no", "--port", "0", "--tls-port", port,
		"--tls-cert-file", authority, "--tls-key-file", key, "--tls-ca-cert-file", authority, "--tls-auth-clients", "no")
	fatal(t, err)
	t.Cleanup(server.Kill)
	server.Addr = net.JoinHostPort("127.0.0.1", port)
	return server, authority
}

// Certificate puts a new certificate into a directory, for the loopback, that vouches
// for itself.
func Certificate(t testing.TB, dir string) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	fatal(t, writeCertificate(certFile, keyFile))
	return certFile, keyFile
}

func writeCertificate(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "tests"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"slices"
	"testing"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// The server accepts TLS 1.2 and 1.3, and in TLS 1.2 only the recommended cipher suites: with
// forward secrecy and authenticated encryption (OWASP ASVS 5.0 12.1.1, 12.1.2). Each version and
// each suite is offered alone.
func TestTLSVersionsAndSuites(t *testing.T) {
	t.Parallel()

	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	testkit.NoError(t, err)

	accepted := map[string]bool{}
	offered := 0
	for _, key := range []crypto.Signer{ecdsaKey, rsaKey} {
		certFile, keyFile := storetest.CertificateFor(t, t.TempDir(), key)
		addr, _, _ := start(t, withoutStores("DRAIN_TIME=0", "TRUSTED_PROXIES=", "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile))
		offer := func(name string, version uint16, suites ...uint16) {
			offered++
			conn, err := tls.Dial("tcp", addr, &tls.Config{
				InsecureSkipVerify: true,
				MinVersion:         version,
				MaxVersion:         version,
				CipherSuites:       suites,
			})
			if err == nil {
				accepted[name] = true
				_ = conn.Close()
			}
		}

		for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			offer(tls.VersionName(version), version)
		}
		for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
			if slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
				offer(suite.Name, tls.VersionTLS12, suite.ID)
			}
		}
	}

	want := []string{
		"TLS 1.2",
		"TLS 1.3",
		"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
		"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
		"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
		"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
		"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	}
	for _, name := range want {
		if !accepted[name] {
			t.Errorf("%s: the server refused it", name)
		}
		delete(accepted, name)
	}
	if len(accepted) != 0 || offered < 40 {
		t.Errorf("got %d offers, of which the server also accepted %v, want at least 40 and no others accepted", offered, accepted)
	}
}

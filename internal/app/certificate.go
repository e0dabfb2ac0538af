package app

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// certificateInterval is how often the certificate files are read.
const certificateInterval = time.Second

// certificate is the server's TLS certificate. It is reloaded when its files change, so that
// a renewal needs no restart. If the files are unusable, for example in the middle of a renewal,
// the previous certificate stays in use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu       sync.Mutex
	current  tls.Certificate
	loadedAt time.Time
}

func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	current, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}

	return &certificate{
		certFile: certFile,
		keyFile:  keyFile,
		log:      log,
		current:  current,
		loadedAt: time.Now(),
	}, nil
}

// config returns a TLS configuration for servers: TLS 1.2 or later, HTTP/2, and recommended
// cipher suites with forward secrecy (OWASP ASVS 5.0 12.1.1, 12.1.2).
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// get returns the certificate for a handshake. It reads the files at most once a second, which
// costs less than a handshake.
func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()

	if time.Since(c.loadedAt) >= certificateInterval {
		c.reload()
	}
	current := c.current

	return &current
}

// reload replaces the certificate if its files have changed. The caller holds mu.
func (c *certificate) reload() {
	c.loadedAt = time.Now()

	loaded, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	switch {
	case err != nil:
		c.log.Error("cannot reload TLS certificate; keeping the previous one", "error", err)
	case !slices.EqualFunc(loaded.Certificate, c.current.Certificate, bytes.Equal):
		c.current = loaded
		c.log.Info("TLS certificate reloaded")
	}
}

package app

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateInterval is how often the files of the certificate are looked at.
const certificateInterval = time.Second

// certificate is the server's own, from files that are read again when they change,
// so that a renewal needs no restart. While what is there cannot be used, as in the
// middle of a renewal, the one of before stays.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	read    [2]time.Time // when the files of current were changed
	looked  time.Time
}

func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	return c, c.load()
}

// config is that of a server: TLS 1.2 or later, with suites that have forward secrecy
// and are recommended, and HTTP/2 (OWASP ASVS 5.0 12.1.1, 12.1.2).
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < certificateInterval {
		return c.current
	}
	if changed, err := c.changed(); err != nil || changed != c.read {
		if err == nil {
			err = c.load()
		}
		if err != nil {
			c.log.Error("the certificate cannot be read again; the one of before stays", "error", err)
		} else {
			c.log.Info("the certificate was read again")
		}
	}
	c.looked = time.Now()
	return c.current
}

// load reads the files. They may change while they are read, so the times of before
// count.
func (c *certificate) load() error {
	changed, err := c.changed()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current, c.read, c.looked = &pair, changed, time.Now()
	return nil
}

func (c *certificate) changed() (at [2]time.Time, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return at, err
		}
		at[i] = info.ModTime()
	}
	return at, nil
}

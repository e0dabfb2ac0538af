package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/config"
)

// healthcheck asks for readiness on the port that serve would listen at. It reads
// no other setting, so that a container needs no secrets to be checked.
func healthcheck(ctx context.Context, vars map[string]string) error {
	host, port := vars["HOST"], vars["PORT"]
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if port == "" {
		port = strconv.Itoa(config.DefaultPort)
	}
	scheme, transport := "http", &http.Transport{} // straight to the server: no proxy of the environment
	if file := vars["TLS_CERT_FILE"]; file != "" {
		secure, err := trusting(file)
		if err != nil {
			return err
		}
		scheme, transport.TLSClientConfig = "https", secure
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return errors.New("not ready: " + res.Status)
	}
	return nil
}

// trusting trusts the server of one certificate, by whatever name it is reached, and
// no other.
func trusting(certFile string) (*tls.Config, error) {
	text, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("TLS_CERT_FILE: no certificate in it")
	}
	own, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(own)
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	switch {
	case len(own.DNSNames) > 0:
		c.ServerName = strings.Replace(own.DNSNames[0], "*", "any", 1)
	case len(own.IPAddresses) > 0:
		c.ServerName = own.IPAddresses[0].String()
	}
	return c, nil
}

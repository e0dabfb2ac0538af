package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
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
	if vars["TLS_CERT_FILE"] != "" {
		// It asks its own machine and tells it nothing. A certificate that has expired or is
		// being renewed is no reason to restart a server that runs.
		scheme, transport.TLSClientConfig = "https", &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // see above
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

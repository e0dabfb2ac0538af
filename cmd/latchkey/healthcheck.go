package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"latchkey/internal/config"
)

// healthcheckTimeout is shorter than the timeout of the HEALTHCHECK in the Dockerfile.
const healthcheckTimeout = 5 * time.Second

func newHealthcheck(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck",
		Short: "Check that the server on this machine is ready",
		Long: `Check that the server on this machine is ready, for the health check of a container.

It reads HOST, PORT and TLS_CERT_FILE, and no secrets.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			vars, err := p.vars()
			if err != nil {
				return err
			}

			return healthcheck(cmd.Context(), vars)
		},
	}
}

// healthcheck requests /readyz from the server that runs with the same settings.
func healthcheck(ctx context.Context, vars map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()

	c, err := config.LoadListener(vars)
	if err != nil {
		return err
	}

	host := c.Host
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}

	scheme := "http"
	transport := &http.Transport{} // ignores HTTP_PROXY
	if c.TLSCertFile != "" {
		scheme = "https"
		// The request stays on this machine and contains no secrets. An expired certificate is
		// no reason to restart a working server.
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // see above
	}

	url := scheme + "://" + net.JoinHostPort(host, strconv.Itoa(c.HTTPPort)) + "/readyz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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

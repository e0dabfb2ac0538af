package oauth

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-json-experiment/json"
)

const (
	// callTimeout limits one request, including the complete response.
	callTimeout = 5 * time.Second
	// maxBody and maxHeaders are the maximum sizes of a response in bytes. Typical responses
	// have a few KiB.
	maxBody    = 1 << 20
	maxHeaders = 64 << 10
	// maxConns is the maximum number of connections to one host, so that a provider that hangs
	// does not use up all sockets. Further requests wait up to callTimeout.
	maxConns = 32
	// idleTimeout is shorter than that of common servers, such as the 5 seconds of Node. An authorization
	// code can be sent only once, so the request must not fail because the server has just closed an idle
	// connection.
	idleTimeout = 3 * time.Second
)

// client sends requests to providers and checks responses before they are used. Its errors
// are of type callError.
type client struct {
	transport *http.Transport
	timeout   time.Duration
	maxBody   int64
}

func newClient() *client {
	// The default transport uses the proxies in the environment.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = maxHeaders
	transport.MaxConnsPerHost = maxConns
	transport.IdleConnTimeout = idleTimeout

	return &client{transport: transport, timeout: callTimeout, maxBody: maxBody}
}

// callError is the reason why a request failed. Its text never quotes the provider, because
// a response may contain tokens and errors are logged.
type callError struct {
	kind   error // ErrRefused or ErrUnavailable
	reason string
	status int // the HTTP status, or 0
}

func (e *callError) Error() string { return e.reason }

// callFailed returns the error for a failed request to an endpoint. err may wrap a callError;
// otherwise the response was malformed. Errors: ErrRefused, ErrUnavailable.
func callFailed(ctx context.Context, endpoint string, err error) error {
	var failed *callError
	switch {
	case errors.As(err, &failed):
		return fmt.Errorf("%w: %s: %w", failed.kind, endpoint, failed)
	case ctx.Err() != nil:
		return unavailable(endpoint + ": timeout")
	}

	return refused(endpoint + ": malformed response")
}

// RoundTrip sends a request and reads the complete response. It rejects redirects, which
// would send codes, secrets and tokens to hosts that neither the operator nor the metadata
// of the provider has named (OWASP ASVS 5.0 15.3.2).
func (c *client) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), c.timeout)
	defer cancel()

	req = req.Clone(ctx)
	req.Header.Set("User-Agent", "latchkey") // required by GitHub
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}

	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, connectionError(err)
	}
	body := res.Body
	defer func() { _ = body.Close() }()

	if err := checkStatus(req.Method, res); err != nil {
		return nil, err
	}

	content, err := io.ReadAll(io.LimitReader(body, c.maxBody+1))
	if err != nil {
		return nil, connectionError(err)
	}
	if int64(len(content)) > c.maxBody {
		return nil, &callError{kind: ErrRefused, reason: fmt.Sprintf("response exceeds %d bytes", c.maxBody)}
	}

	res.Body = io.NopCloser(bytes.NewReader(content))

	return res, nil
}

// checkStatus returns an error if the status shows that the request failed. A response to
// GET must have status 200. A POST may return 4xx: the token endpoint explains in the body
// why it refuses a request.
func checkStatus(method string, res *http.Response) error {
	code := res.StatusCode
	// See "Rate limits for the REST API" in the documentation of GitHub.
	isRateLimited := code == http.StatusTooManyRequests || code == http.StatusForbidden &&
		(res.Header.Get("Retry-After") != "" || res.Header.Get("X-RateLimit-Remaining") == "0")
	isRedirect := code >= 300 && code < 400

	kind := ErrRefused
	switch {
	case code >= 500, isRateLimited:
		kind = ErrUnavailable
	case isRedirect:
	case method != http.MethodGet || code == http.StatusOK:
		return nil
	}

	return &callError{kind: kind, reason: fmt.Sprintf("status %d", code), status: code}
}

// connectionError returns the error for a failure below HTTP. It only quotes network and TLS
// errors, because other errors of net/http may quote the provider.
func connectionError(err error) error {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	var timeout interface{ Timeout() bool }

	reason := "connection failed"
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		reason = "timeout"
	case errors.As(err, &network):
		reason = network.Error()
	case errors.As(err, &certificate):
		reason = certificate.Error()
	}

	return &callError{kind: ErrUnavailable, reason: reason}
}

// http returns an http.Client that uses c.
func (c *client) http() *http.Client { return &http.Client{Transport: c} }

// in returns a context that makes package oauth2 use c.
func (c *client) in(ctx context.Context) context.Context { return oidc.ClientContext(ctx, c.http()) }

// fetch requests a URL. bearer is an access token or "". Errors: ErrRefused, ErrUnavailable.
func (c *client) fetch(ctx context.Context, endpoint, url, bearer string, headers http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, refused(endpoint + ": invalid URL")
	}

	for name, values := range headers {
		req.Header[name] = values
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}

	res, err := c.http().Do(req)
	if err != nil {
		return nil, callFailed(ctx, endpoint, err)
	}

	return res, nil
}

// get requests a URL and decodes the JSON response into into. Member names must match exactly
// and must not repeat, so that every parser sees the same values. bearer is an access token
// or "". get returns the headers of the response. Errors: ErrRefused, ErrUnavailable.
func (c *client) get(ctx context.Context, endpoint, url, bearer string, headers http.Header, into any) (http.Header, error) {
	res, err := c.fetch(ctx, endpoint, url, bearer, headers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()

	if err := json.UnmarshalRead(res.Body, into); err != nil {
		return nil, refused(endpoint + ": malformed response")
	}

	return res.Header, nil
}

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

	"github.com/go-json-experiment/json"
	"golang.org/x/oauth2"
)

const (
	// callLimit is for one question and its whole answer.
	callLimit = 5 * time.Second
	// maxBody and maxHeaders bound an answer. A long one has a few KiB.
	maxBody    = 1 << 20
	maxHeaders = 64 << 10
	// maxConns bounds the connections to one host: a provider that hangs must not cost
	// us all our sockets. A question beyond them waits its turn within callLimit.
	maxConns = 32
	// idleLife is short: a code is sent once, and must not meet a connection that the
	// provider, or something on the way, has closed meanwhile.
	idleLife = 10 * time.Second
)

// client asks providers, and judges every answer before anyone reads it. Its errors are
// callErrors.
type client struct {
	transport *http.Transport
	callLimit time.Duration
	maxBody   int64
}

func newClient() *client {
	// The default one takes proxies from the environment.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = maxHeaders
	transport.MaxConnsPerHost = maxConns
	transport.IdleConnTimeout = idleLife
	return &client{transport: transport, callLimit: callLimit, maxBody: maxBody}
}

// callError is why an answer is none. Its text is ours, except for what the network and
// TLS say: what a provider has written may hold tokens, and is for nobody's log.
type callError struct {
	kind   error // ErrRefused or ErrUnavailable
	reason string
	status int // where there was one
}

func (e *callError) Error() string { return e.reason }

// asked is why a question has no answer: why the client has none, or that it cannot be
// read. Errors: ErrRefused, ErrUnavailable.
func asked(ctx context.Context, whom string, err error) error {
	var failed *callError
	switch {
	case errors.As(err, &failed):
		return fmt.Errorf("%w: %s: %w", failed.kind, whom, failed)
	case ctx.Err() != nil:
		return unavailable(whom + " took too long")
	}
	return refused(whom + " gave an answer that cannot be read")
}

// RoundTrip asks once, and reads the whole answer. Redirects are refused and not
// followed: they would take codes, secrets and tokens to hosts that neither the
// operator nor the provider's metadata have named (OWASP ASVS 5.0 15.3.2).
func (c *client) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), c.callLimit)
	defer cancel()
	req = req.Clone(ctx)
	req.Header.Set("User-Agent", "latchkey") // GitHub wants one
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, broken(err)
	}
	answered := res.Body
	defer func() { _ = answered.Close() }()
	if err := judged(res); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(answered, c.maxBody+1))
	if err != nil {
		return nil, broken(err)
	}
	if int64(len(body)) > c.maxBody {
		return nil, &callError{kind: ErrRefused, reason: fmt.Sprintf("more than %d bytes", c.maxBody)}
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// judged is what a status means by itself.
func judged(res *http.Response) error {
	code := res.StatusCode
	switch {
	case code >= 500, code == http.StatusTooManyRequests,
		// GitHub, "Rate limits for the REST API".
		code == http.StatusForbidden && (res.Header.Get("Retry-After") != "" || res.Header.Get("X-RateLimit-Remaining") == "0"):
		return &callError{kind: ErrUnavailable, reason: fmt.Sprintf("status %d", code), status: code}
	case code >= 300 && code < 400:
		return &callError{kind: ErrRefused, reason: fmt.Sprintf("status %d: a redirect", code), status: code}
	}
	return nil
}

// broken is what went wrong below HTTP, for who reads the log. What else net/http says
// may quote what the provider has sent.
func broken(err error) error {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	var timeout interface{ Timeout() bool }
	reason := "the connection broke"
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		reason = "no answer in time"
	case errors.As(err, &network):
		reason = network.Error()
	case errors.As(err, &certificate):
		reason = certificate.Error()
	}
	return &callError{kind: ErrUnavailable, reason: reason}
}

// lenient is an http.Client that lets pass an answer of 4xx, in which a token endpoint
// says why.
func (c *client) lenient() *http.Client { return &http.Client{Transport: c} }

// strict is an http.Client that takes any answer but 200 for an error.
func (c *client) strict() *http.Client { return &http.Client{Transport: strictClient{c}} }

type strictClient struct{ *client }

func (c strictClient) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := c.client.RoundTrip(req)
	if err == nil && res.StatusCode != http.StatusOK {
		err = &callError{kind: ErrRefused, reason: fmt.Sprintf("status %d", res.StatusCode), status: res.StatusCode}
	}
	if err != nil {
		return nil, err
	}
	return res, nil
}

// with returns a context in which packages oauth2 and oidc ask by way of an http.Client.
func with(ctx context.Context, c *http.Client) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, c)
}

// get reads JSON into into: by its exact names, none of them twice, so that nobody else
// reads another value. bearer is an access token, or empty. The headers are returned,
// too. Errors: as for asked.
func (c *client) get(ctx context.Context, whom, address, bearer string, headers http.Header, into any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, refused(whom + " has an address that is no URL")
	}
	for name, values := range headers {
		req.Header[name] = values
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := c.strict().Do(req)
	if err != nil {
		return nil, asked(ctx, whom, err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.UnmarshalRead(res.Body, into); err != nil {
		return nil, refused(whom + " gave an answer that cannot be read")
	}
	return res.Header, nil
}

package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

const (
	// metadataTTL is how long metadata is used before it is requested again.
	metadataTTL = 24 * time.Hour
	// retryInterval is the minimum time between a failed request and the next one.
	retryInterval = 5 * time.Second
)

// metadata is the discovery document of a provider (OpenID Connect Discovery 1.0 section 3).
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Keys          string   `json:"jwks_uri"`
	UserInfo      string   `json:"userinfo_endpoint"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	TokenAuth     []string `json:"token_endpoint_auth_methods_supported"`
	Claims        []string `json:"claims_supported"`
	// SendsIssuer means that callbacks contain iss (RFC 9207 section 3).
	SendsIssuer bool `json:"authorization_response_iss_parameter_supported"`

	keySet oidc.KeySet
}

// asymmetric lists the accepted signature algorithms for ID tokens. HS256 would use our
// secret as the key, and "none" uses no key at all.
var asymmetric = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
	oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// validate rejects metadata of another issuer (OWASP ASVS 5.0 10.5.3) and metadata that we
// cannot use. It removes unaccepted signature algorithms.
func (m *metadata) validate(issuer string) error {
	if m.Issuer != issuer {
		return unavailable("metadata: wrong issuer")
	}

	endpoints := []string{m.Authorization, m.Token, m.Keys}
	if m.UserInfo != "" { // optional
		endpoints = append(endpoints, m.UserInfo)
	}

	// The configuration allows http issuers only for development.
	allowHTTP := strings.HasPrefix(issuer, "http://")
	for _, endpoint := range endpoints {
		if !isEndpoint(endpoint, allowHTTP) {
			return unavailable("metadata: an endpoint is not an https URL")
		}
	}

	m.Algorithms = slices.DeleteFunc(m.Algorithms, func(a string) bool { return !slices.Contains(asymmetric, a) })
	if len(m.Algorithms) == 0 {
		m.Algorithms = []string{oidc.RS256} // every provider must support it
	}

	if m.authStyle() == oauth2.AuthStyleAutoDetect {
		return unavailable("metadata: the token endpoint does not accept a client secret")
	}

	return nil
}

func isEndpoint(s string, allowHTTP bool) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}

	return u.Scheme == "https" || allowHTTP && u.Scheme == "http"
}

// authStyle returns how to send the client secret to the token endpoint, or
// AuthStyleAutoDetect if no supported method is offered. We cannot find out by trying,
// because an authorization code works only once.
func (m *metadata) authStyle() oauth2.AuthStyle {
	switch {
	case len(m.TokenAuth) == 0 || slices.Contains(m.TokenAuth, "client_secret_basic"):
		return oauth2.AuthStyleInHeader
	case slices.Contains(m.TokenAuth, "client_secret_post"):
		return oauth2.AuthStyleInParams
	}

	return oauth2.AuthStyleAutoDetect
}

// supportsAuthTime reports whether ID tokens can contain the time of authentication.
func (m *metadata) supportsAuthTime() bool { return slices.Contains(m.Claims, "auth_time") }

// discovery caches the metadata of one issuer.
type discovery struct {
	issuer  string
	client  *client
	options Options

	cached  atomic.Pointer[metadata] // nil until the first success
	refresh singleflight.Group

	// The remaining fields are only used in update, which never runs concurrently.
	updatedAt time.Time
	failedAt  time.Time
	failure   error // the error of the last request, or nil
}

// metadata returns the metadata of the issuer and refreshes it if necessary. Concurrent
// callers share one request, which continues if the caller that started it is cancelled. If
// a refresh fails, the cached metadata is used. Errors: ErrUnavailable.
func (d *discovery) metadata(ctx context.Context) (*metadata, error) {
	refreshed := d.refresh.DoChan("", func() (any, error) {
		return nil, d.update(context.WithoutCancel(ctx))
	})

	var err error
	select {
	case result := <-refreshed:
		err = result.Err
	case <-ctx.Done():
		err = unavailable("discovery: timeout")
	}

	if cached := d.cached.Load(); cached != nil {
		return cached, nil
	}

	return nil, err
}

// update requests the metadata if the cached metadata is too old.
func (d *discovery) update(ctx context.Context) error {
	now := d.options.Now()
	switch {
	case d.cached.Load() != nil && now.Sub(d.updatedAt) < metadataTTL:
		return nil
	case d.failure != nil && now.Sub(d.failedAt) < retryInterval:
		return d.failure
	}

	m, _, err := d.request(ctx)
	d.failure = err
	if err == nil {
		d.cached.Store(m)
		d.updatedAt = d.options.Now()

		return nil
	}

	d.failedAt = d.options.Now()
	if d.cached.Load() != nil {
		d.options.Log.WarnContext(ctx, "cannot refresh provider metadata; using the cached version",
			"issuer", d.issuer, "since", d.updatedAt, "error", err)
	}

	return err
}

// request requests the metadata of the issuer, and returns how far its clock is ahead of
// ours. Keys are requested later: with the first ID token and for unknown key IDs. Errors:
// ErrUnavailable, because a provider without metadata cannot be used.
func (d *discovery) request(ctx context.Context) (*metadata, time.Duration, error) {
	start := d.options.Now()
	url := strings.TrimSuffix(d.issuer, "/") + "/.well-known/openid-configuration"

	m := &metadata{}
	headers, err := d.client.get(ctx, "discovery", url, "", nil, m)
	if errors.Is(err, ErrRefused) {
		err = unavailable(err.Error())
	}
	if err != nil {
		return nil, 0, err
	}
	if err := m.validate(d.issuer); err != nil {
		return nil, 0, err
	}

	// The key set outlives this request, so it must not use ctx.
	keys := &http.Client{Transport: usableKeys{client: d.client, issuer: d.issuer, log: d.options.Log}}
	m.keySet = oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), keys), m.Keys)

	return m, skew(headers, start, d.options.Now()), nil
}

// skew returns how far the clock of a server is ahead of ours, rounded to seconds, or 0 if
// the response has no Date header.
func skew(headers http.Header, requested, responded time.Time) time.Duration {
	theirs, err := http.ParseTime(headers.Get("Date"))
	if err != nil {
		return 0
	}

	ours := requested.Add(responded.Sub(requested) / 2)

	return theirs.Sub(ours).Round(time.Second)
}

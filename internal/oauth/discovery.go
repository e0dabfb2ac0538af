package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	// metadataLife is how long a provider's metadata, and the keys that came after it, are
	// used before it is asked again.
	metadataLife = 24 * time.Hour
	// failureLife is how long a provider that has failed is left alone.
	failureLife = 5 * time.Second
)

// metadata is what a provider says of itself (OpenID Connect Discovery 1.0 section 3).
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Keys          string   `json:"jwks_uri"`
	UserInfo      string   `json:"userinfo_endpoint"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	TokenAuth     []string `json:"token_endpoint_auth_methods_supported"`
	Claims        []string `json:"claims_supported"`
	// NamesItself is RFC 9207 section 3.
	NamesItself bool `json:"authorization_response_iss_parameter_supported"`

	keySet oidc.KeySet
}

// asymmetric are the algorithms that an ID token may be signed with. With the others,
// our secret would do for a key (HS256), or nothing at all (none).
var asymmetric = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
	oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// judge refuses metadata that are of another issuer (OWASP ASVS 5.0 10.5.3), or that
// cannot be used.
func (m *metadata) judge(issuer string) error {
	if m.Issuer != issuer {
		return unavailable("its metadata name another issuer")
	}
	plain := strings.HasPrefix(issuer, "http://") // the configuration has judged that
	endpoints := []string{m.Authorization, m.Token, m.Keys}
	if m.UserInfo != "" { // the one that a provider may lack
		endpoints = append(endpoints, m.UserInfo)
	}
	for _, endpoint := range endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && (!plain || u.Scheme != "http") {
			return unavailable("its metadata name an endpoint that is no https URL")
		}
	}
	m.Algorithms = slices.DeleteFunc(m.Algorithms, func(a string) bool { return !slices.Contains(asymmetric, a) })
	if len(m.Algorithms) == 0 {
		m.Algorithms = []string{oidc.RS256} // all must support it
	}
	if m.authStyle() == oauth2.AuthStyleAutoDetect {
		return unavailable("its token endpoint takes no client secret")
	}
	return nil
}

// authStyle is how the token endpoint takes our secret. It is not tried out: a code is
// good for one try.
func (m *metadata) authStyle() oauth2.AuthStyle {
	switch {
	case len(m.TokenAuth) == 0 || slices.Contains(m.TokenAuth, "client_secret_basic"):
		return oauth2.AuthStyleInHeader
	case slices.Contains(m.TokenAuth, "client_secret_post"):
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleAutoDetect
}

// tellsProof tells whether an ID token can say when its user has proved who they are.
func (m *metadata) tellsProof() bool { return slices.Contains(m.Claims, "auth_time") }

// discovery keeps the metadata of one issuer.
type discovery struct {
	issuer  string
	client  *client
	options Options

	mu       sync.Mutex
	known    *metadata // nil until the first success
	knownAt  time.Time
	failure  error // of the last question; nil where that went well
	failedAt time.Time
	asking   chan struct{} // closed when the question under way is answered; nil where there is none
}

// metadata returns what is known, or asks. Of several that want it at once one asks, and
// goes on where its own request is given up: the others wait for the answer. Where no
// new one can be had, an older one is used on. Errors: ErrUnavailable.
func (d *discovery) metadata(ctx context.Context) (*metadata, error) {
	for {
		known, asking, err := d.current(ctx)
		if asking == nil {
			return known, err
		}
		select {
		case <-asking:
		case <-ctx.Done():
			if known != nil {
				return known, nil
			}
			return nil, unavailable("discovery took too long")
		}
	}
}

// current returns what is to be used now; or, where that is to be waited for, what is to
// be used if the wait is too long.
func (d *discovery) current(ctx context.Context) (known *metadata, asking <-chan struct{}, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.options.Now()
	switch {
	case d.known != nil && now.Sub(d.knownAt) < metadataLife:
		return d.known, nil, nil
	case d.failure != nil && now.Sub(d.failedAt) < failureLife && d.known != nil:
		return d.known, nil, nil
	case d.failure != nil && now.Sub(d.failedAt) < failureLife:
		return nil, nil, d.failure
	}
	if d.asking == nil {
		d.asking = make(chan struct{})
		go func() {
			ctx := context.WithoutCancel(ctx)
			m, _, err := d.ask(ctx)
			d.keep(ctx, m, err)
		}()
	}
	return d.known, d.asking, nil
}

// keep notes the answer to a question.
func (d *discovery) keep(ctx context.Context, m *metadata, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.options.Now()
	if d.failure = err; err == nil {
		d.known, d.knownAt = m, now
	} else {
		d.failedAt = now
		if d.known != nil {
			d.options.Log.WarnContext(ctx, "the metadata of a provider could not be renewed; the old ones are used on",
				"issuer", d.issuer, "since", d.knownAt, "error", err)
		}
	}
	close(d.asking)
	d.asking = nil
}

// ask asks the issuer. Its keys are asked for with the first token, and again where one
// is by a key that is not known. Without metadata a provider cannot be used, whatever
// the reason. Errors: ErrUnavailable.
func (d *discovery) ask(ctx context.Context) (*metadata, time.Duration, error) {
	m := &metadata{}
	start := d.options.Now()
	headers, err := d.client.get(ctx, "discovery", strings.TrimSuffix(d.issuer, "/")+"/.well-known/openid-configuration", "", nil, m)
	if errors.Is(err, ErrRefused) {
		err = unavailable(err.Error())
	}
	if err != nil {
		return nil, 0, err
	}
	if err := m.judge(d.issuer); err != nil {
		return nil, 0, err
	}
	// Not ctx: the key set would keep the request that asked for as long as itself.
	m.keySet = oidc.NewRemoteKeySet(with(context.Background(), d.client.strict()), m.Keys)
	return m, skew(headers, start, d.options.Now()), nil
}

// skew is how far the clock of who has answered is ahead of ours, to the second, as far
// as the answer says.
func skew(headers http.Header, asked, answered time.Time) time.Duration {
	theirs, err := http.ParseTime(headers.Get("Date"))
	if err != nil {
		return 0
	}
	return theirs.Sub(asked.Add(answered.Sub(asked) / 2)).Round(time.Second)
}

package oauth

import (
	"context"
	"net/http"
	"testing"
	"time"

	"latchkey/internal/oauth/oauthtest"
)

// Check reports the problems that would prevent a sign-in.
func TestCheck(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	hub, g := oneGitHub(t)
	w.clock.at = time.Now()
	hub.clock.at = time.Now()
	if got, err := w.Check(context.Background(), "home"); err != nil || got.Skew.Abs() > 2*time.Second {
		t.Errorf("got %+v, error %v, want a skew of about 0 and no error", got, err)
	}
	if got, err := hub.Check(context.Background(), "github"); err != nil || got.Skew.Abs() > 2*time.Second {
		t.Errorf("got %+v, error %v, want a skew of about 0 and no error", got, err)
	}

	for date, want := range map[string]time.Duration{
		w.clock.now().Add(-time.Hour).UTC().Format(http.TimeFormat):  -time.Hour,
		w.clock.now().Add(time.Minute).UTC().Format(http.TimeFormat): time.Minute,
		"yesterday": 0,
	} {
		i.Break(oauthtest.Discovery, oauthtest.Fault{Header: http.Header{"Date": {date}}})
		if got, err := w.Check(context.Background(), "home"); err != nil || (got.Skew-want).Abs() > 2*time.Second {
			t.Errorf("Date %s: got %+v, error %v, want a skew of about %v and no error", date, got, err, want)
		}
	}

	i.Break(oauthtest.Discovery, oauthtest.Fault{})
	for _, tc := range []struct {
		e    oauthtest.Endpoint
		f    oauthtest.Fault
		want error
	}{
		{oauthtest.Discovery, oauthtest.Fault{Status: 404}, ErrUnavailable},
		{oauthtest.Discovery, oauthtest.Fault{Status: 307, Header: http.Header{"Location": {g.URL}}}, ErrUnavailable},
		{oauthtest.Keys, oauthtest.Fault{Status: 404}, ErrRefused},
		{oauthtest.Keys, oauthtest.Fault{Status: 500}, ErrUnavailable},
		{oauthtest.Keys, oauthtest.Fault{Body: `{"keys":[]}`}, ErrRefused},
		{oauthtest.Keys, oauthtest.Fault{Body: `<html>`}, ErrRefused},
		{oauthtest.Keys, oauthtest.Fault{}, nil},
	} {
		i.Break(tc.e, tc.f)
		_, err := w.Check(context.Background(), "home")
		w.checkNoSecrets(t, err)
		wantError(t, err, tc.want)
		i.Break(tc.e, oauthtest.Fault{})
	}

	if i.Calls(oauthtest.Token)+g.Calls(oauthtest.Token) != 0 || w.pendingFlows(t) != 0 {
		t.Error("got a token request or a stored flow, want none")
	}
}

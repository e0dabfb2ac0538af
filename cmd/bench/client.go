package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The bodies of requests to register and to log in.
const (
	password     = "seventeen green umbrellas"
	credentials  = `"email":"ann@example.com","password":"` + password + `"`
	registerBody = `{"name":"Ann Example",` + credentials + `}`
	loginBody    = `{` + credentials + `}`
)

// headers returns the headers of every request, as a proxy would send them.
func (b *bench) headers() map[string]string {
	return map[string]string{
		"Content-Type":    "application/json",
		"Cookie":          b.cookie,
		"User-Agent":      "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
		"X-Forwarded-For": "203.0.113.7",
	}
}

// send sends a request and returns the headers and the body of the response.
func (b *bench) send(method, url, body string) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(b.ctx, method, url, strings.NewReader(body)) //nolint:gosec // the URLs are our own
	if err != nil {
		return nil, nil, err
	}

	for name, value := range b.headers() {
		req.Header.Set(name, value)
	}

	res, err := http.DefaultClient.Do(req) //nolint:gosec // as above
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()

	got, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s %s: %s: %.300s", method, url, res.Status, got)
	}

	return res.Header, got, err
}

// register creates the account and keeps the cookie of its session.
func (b *bench) register() error {
	header, _, err := b.send(http.MethodPost, b.url+"/auth/register", registerBody)
	if err != nil {
		return err
	}

	b.cookie, _, _ = strings.Cut(header.Get("Set-Cookie"), ";")

	return nil
}

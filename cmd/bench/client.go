package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The bodies of requests to register and to log in.
const (
	password     = "seventeen green umbrellas"
	credentials  = `"email":"ann@example.com","password":"` + password + `"`
	registerBody = `{"name":"Ann Example",` + credentials + `}`
	loginBody    = `{` + credentials + `}`
)

// senders is the number of goroutines that may send requests at the same time.
const senders = 16

var client = &http.Client{Transport: &http.Transport{
	MaxIdleConnsPerHost: senders,
	DisableCompression:  true, // wrk does not ask for it either
}}

// request is an HTTP request.
type request struct {
	method string
	url    string
	cookie string
	body   string
}

// headers returns the headers of a request, as a proxy would send them.
func (r request) headers() map[string]string {
	return map[string]string{
		"Content-Type":    "application/json",
		"Cookie":          r.cookie,
		"User-Agent":      "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
		"X-Forwarded-For": "203.0.113.7",
	}
}

// send sends a request and returns the headers and the body of the response.
func (b *bench) send(r request) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(b.ctx, r.method, r.url, strings.NewReader(r.body)) //nolint:gosec // the URLs are our own
	if err != nil {
		return nil, nil, err
	}

	for name, value := range r.headers() {
		req.Header.Set(name, value)
	}

	res, err := client.Do(req) //nolint:gosec // as above
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()

	got, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s %s: %s: %.300s", r.method, r.url, res.Status, got)
	}

	return res.Header, got, err
}

// sendTimed sends a request and returns how long the response took.
func (b *bench) sendTimed(r request) (time.Duration, error) {
	start := time.Now()
	_, _, err := b.send(r)

	return time.Since(start), err
}

// latencySample returns the sample of requests that were sent one after another.
func latencySample(latencies []time.Duration) sample {
	slices.Sort(latencies)

	s := sample{
		Count: float64(len(latencies)),
		P50:   milliseconds(latencies[len(latencies)/2]),
		P99:   milliseconds(latencies[len(latencies)*99/100]),
	}
	for _, latency := range latencies {
		s.Seconds += latency.Seconds()
	}

	return s
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

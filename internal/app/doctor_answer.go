package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"latchkey/internal/doctor"
)

// answerTimeout is how long the doctor waits for the API.
const answerTimeout = 3 * time.Second

// askAPI requests GET /auth/session from the API, as the page does when it opens.
func askAPI(ctx context.Context, spa, api string) doctor.Answer {
	answer := doctor.Answer{API: api, Page: spa}

	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()

	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(api, "/")+"/auth/session", nil)
	if err != nil {
		answer.Err = err
		return answer
	}
	if page, err := url.Parse(spa); err == nil {
		r.Header.Set("Origin", page.Scheme+"://"+page.Host)
	}

	client := http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()

	res, err := client.Do(r)
	if err != nil {
		answer.Refused = errors.Is(err, syscall.ECONNREFUSED)
		answer.Err = reason(err)

		return answer
	}
	defer func() { _ = res.Body.Close() }()

	var body struct{ Code, RequestID string }
	err = json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&body)

	answer.Status = res.StatusCode
	answer.IsLatchkey = err == nil && body.Code != "" && body.RequestID != ""
	answer.MayRead = res.Header.Get("Access-Control-Allow-Origin")

	return answer
}

// reason returns the error inside a *url.Error, which repeats the URL.
func reason(err error) error {
	var outer *url.Error
	if !errors.As(err, &outer) {
		return err
	}
	if outer.Timeout() {
		return errors.New("timeout")
	}

	return outer.Err
}

package apitest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/internal/testkit"
)

// Response is a response from the API.
type Response struct {
	T       testing.TB
	Request string // "METHOD /path"
	Status  int
	Header  http.Header
	Raw     []byte
	JSON    map[string]any
	Cookie  *http.Cookie // nil if the response does not set the session cookie
}

// commonHeaders are the headers that every response has once.
var commonHeaders = map[string]*regexp.Regexp{
	"X-Content-Type-Options":       regexp.MustCompile("^nosniff$"),
	"Referrer-Policy":              regexp.MustCompile("^no-referrer$"),
	"Cross-Origin-Resource-Policy": regexp.MustCompile("^same-origin$"),
	"Content-Security-Policy":      regexp.MustCompile("^default-src 'none'"),
	"X-Request-Id":                 regexp.MustCompile("."),
	"Cache-Control":                regexp.MustCompile(""),
}

// parse reads a JSON body and checks the headers that every response has.
func (a *Response) parse(method string) error {
	for name, pattern := range commonHeaders {
		if name == "Cross-Origin-Resource-Policy" && strings.HasPrefix(a.Request, "GET /client.") {
			pattern = regexp.MustCompile("^cross-origin$") // pages of all origins import it
		}
		if got := a.Header.Values(name); len(got) != 1 || !pattern.MatchString(got[0]) {
			return fmt.Errorf("%s: got %q, want one value that matches %q", name, got, pattern)
		}
	}

	contentType := a.Header.Get("Content-Type")
	if a.Status >= http.StatusBadRequest && contentType != "application/problem+json; charset=utf-8" {
		return fmt.Errorf("Content-Type of an error response: got %q, want application/problem+json", contentType)
	}

	if !strings.Contains(contentType, "json") || method == http.MethodHead {
		return nil
	}

	isDocument := a.Header.Get("Etag") != "" // a public one, like openapi.json
	if got := a.Header.Get("Cache-Control"); got != "no-store" && !isDocument {
		return fmt.Errorf("Cache-Control: got %q, want no-store", got)
	}

	return json.Unmarshal(a.Raw, &a.JSON) // also fails if a second body follows the first
}

// Want fails the test unless the response has the given status.
func (a Response) Want(status int) Response {
	a.T.Helper()

	if a.Status != status {
		a.T.Fatalf("%s: got %d, want %d\n%s", a.Request, a.Status, status, a.Raw)
	}

	return a
}

// WantCode fails the test unless the response is a failure with the given status and code.
func (a Response) WantCode(status int, code string) Response {
	a.T.Helper()
	a.Want(status)

	if a.JSON["code"] != code || a.JSON["message"] != a.JSON["detail"] {
		a.T.Fatalf("%s: got %s, want code %s", a.Request, a.Raw, code)
	}

	return a
}

// Text returns a string in the JSON body by its path, or "" if there is none.
func (a Response) Text(path ...string) string {
	a.T.Helper()

	var value any = a.JSON
	for _, name := range path {
		value = value.(map[string]any)[name]
	}
	text, _ := value.(string)

	return text
}

// Time returns a time in the JSON body.
func (a Response) Time(name string) time.Time {
	a.T.Helper()

	value, err := time.Parse(time.RFC3339, a.Text(name))
	testkit.NoError(a.T, err)

	return value
}

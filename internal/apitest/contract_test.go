package apitest

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// The contract check detects responses that differ from the document.
func TestContractIsChecked(t *testing.T) {
	t.Parallel()
	const (
		signedIn = `{"authenticated":true}`
		problem  = `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"x","code":"not_authenticated","message":"x","requestId":"1"}`
	)
	userHeaders := http.Header{
		"X-Auth-User-Id":        {"1"},
		"X-Auth-Email":          {"a@example.com"},
		"X-Auth-Email-Verified": {"true"},
		"X-Auth-Level":          {"aal1"},
		"X-Auth-Methods":        {"pwd"},
		"X-Auth-Time":           {"1773480413"},
		"X-Auth-Session-Id":     {"2"},
	}
	for _, tc := range []struct {
		name   string
		status int
		header http.Header
		kind   string
		body   string
		want   bool // whether the response matches the document
	}{
		{"signed in", 200, userHeaders, "application/json; charset=utf-8", signedIn, true},
		{"not signed in", 401, nil, "application/problem+json; charset=utf-8", problem, true},
		{"missing header", 200, nil, "application/json", signedIn, false},
		{"wrong content type", 200, userHeaders, "text/plain", signedIn, false},
		{"wrong value", 200, userHeaders, "application/json", `{"authenticated":false}`, false},
		{"undocumented member", 200, userHeaders, "application/json", `{"authenticated":true,"email":"a@example.com"}`, false},
		{"no body", 200, userHeaders, "application/json", "", false},
		{"undocumented code", 401, nil, "application/problem+json", strings.Replace(problem, "not_authenticated", "other", 1), false},
		{"missing member", 401, nil, "application/problem+json", strings.Replace(problem, `,"requestId":"1"`, "", 1), false},
		{"undocumented status", 402, nil, "application/problem+json", problem, false},
		{"malformed header", 503, http.Header{"Retry-After": {"soon"}}, "application/problem+json", strings.Replace(problem, "not_authenticated", "internal", 1), false},
	} {
		req, err := http.NewRequest(http.MethodGet, "/auth/verify", nil)
		testkit.NoError(t, err)
		a := Response{T: t, Status: tc.status, Header: http.Header{"Content-Type": {tc.kind}}, Raw: []byte(tc.body)}
		maps.Copy(a.Header, tc.header)
		if err := checkContract(req, a); (err == nil) != tc.want {
			t.Errorf("%s: got error %v, want a match: %t", tc.name, err, tc.want)
		}
	}
}

// The contract check detects a server that accepts invalid requests or rejects valid ones.
func TestContractChecksRequests(t *testing.T) {
	t.Parallel()
	const rejection = `{"errors":[{"field":"name","code":"required","message":"x"}]}`

	for _, tc := range []struct {
		name   string
		method string
		path   string
		body   string
		status int
		answer string
		want   bool
	}{
		{"valid", "PUT", "/profile", `{"name":"Ann"}`, 200, "", true},
		{"accepted with an unknown member", "PUT", "/profile", `{"name":"Ann","x":1}`, 200, "", false},
		{"accepted without a required member", "PUT", "/profile", `{}`, 200, "", false},
		{"accepted without a body", "PUT", "/profile", "", 200, "", false},
		{"rejected though valid", "PUT", "/profile", `{"name":"Ann"}`, 400, rejection, false},
		{"rejected", "PUT", "/profile", `{}`, 400, rejection, true},
		{"no body", "POST", "/auth/logout", "", 200, "", true},
		{"an empty object for no body", "POST", "/auth/logout", "{}", 200, "", true},
		{"a body for no body", "POST", "/auth/logout", `{"x":1}`, 200, "", false},
		{"a parameter", "DELETE", "/auth/sessions?scope=all", "", 200, "", true},
		{"another value of a parameter", "DELETE", "/auth/sessions?scope=none", "", 200, "", false},
	} {
		req, err := http.NewRequest(tc.method, tc.path, strings.NewReader(tc.body))
		testkit.NoError(t, err)
		route, _, err := contract().FindRoute(req)
		testkit.NoError(t, err)
		err = contract().matchRequest(route, req, Response{Status: tc.status, Raw: []byte(tc.answer)})
		if got := err == nil; got != tc.want {
			t.Errorf("%s: got match %t with error %v, want %t", tc.name, got, err, tc.want)
		}
	}
}

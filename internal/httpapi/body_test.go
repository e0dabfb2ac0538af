package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
	"latchkey/internal/testkit"
)

func TestBodyLimit(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	for _, tc := range []struct {
		method, path, body string
		limit, status      int
	}{
		{"POST", "/auth/login", `{"email":"ann@example.com","password":"x"}`, httpapi.MaxPasswordBody, 401},
		{"POST", "/auth/password/forgot", `{"email":"ann@example.com"}`, httpapi.MaxBody, 202},
		{"PUT", "/profile", `{"name":"Ann"}`, httpapi.MaxBody, 200},
		{"GET", "/auth/me", `{}`, httpapi.MaxBody, 200},
		{"GET", "/healthz", `{}`, httpapi.MaxBody, 200},
	} {
		fill := func(n int) []byte { return []byte(tc.body + strings.Repeat(" ", n-len(tc.body))) }
		ann.Send(tc.method, tc.path, jsonType, fill(tc.limit)).Want(tc.status)
		ann.Send(tc.method, tc.path, jsonType, fill(tc.limit+1)).WantCode(413, "body_too_large")
	}
}

// Many slow bodies do not keep other clients out. The server gives up some with 503, and the others
// can still be completed.
func TestSlowBodiesKeepNobodyOut(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	s.Register("ann@example.com")

	const extra = 20
	const login = `{"email":"ann@example.com","password":"wrong password"}`
	head := fmt.Sprintf("POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(login))
	slow := make([]rawConn, httpapi.MaxWaitingBodies+extra)
	for i := range slow {
		slow[i] = sendRaw(t, s, head+login[:10])
	}

	// Other clients' requests work, because their bodies are complete at once.
	for range 10 {
		if !s.NewClient().Login("ann@example.com", apitest.Password) {
			t.Fatal("login during slow requests failed, want success")
		}
	}

	statuses := map[int]int{}
	for _, r := range slow {
		_, _ = io.WriteString(r, login[10:]) // fails if the server has closed the connection
		res := r.readResponse(t)
		body, err := io.ReadAll(res.Body)
		testkit.NoError(t, err)

		statuses[res.StatusCode]++
		if res.StatusCode == http.StatusServiceUnavailable {
			if !res.Close || res.Header.Get("Retry-After") != "1" || !strings.Contains(string(body), `"code":"overloaded"`) {
				t.Errorf("a body that was given up: got close %v, header %v and body %s, want overloaded and a closed connection", res.Close, res.Header, body)
			}
		}
	}

	// Each of the other clients' requests may have displaced one more.
	refused := statuses[http.StatusServiceUnavailable]
	if refused < extra || refused > extra+10 || statuses[http.StatusUnauthorized] != len(slow)-refused {
		t.Errorf("statuses: got %v, want 503 %d to %d times, and otherwise 401", statuses, extra, extra+10)
	}
	if lines := strings.Count(s.Log.String(), `error=overloaded`); lines < 1 || lines > 2 {
		t.Errorf("log lines about slow bodies: got %d, want one a minute", lines)
	}
}

package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
	"latchkey/internal/testkit"
)

func TestBodyLimit(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
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

// slowRequest is a request whose body is incomplete.
type slowRequest struct {
	net.Conn
	from *bufio.Reader
}

// startSlow sends a request with an incomplete body.
func startSlow(t *testing.T, s *apitest.Server, head, body string) slowRequest {
	t.Helper()

	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	testkit.NoError(t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
	_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s", head, body)
	testkit.NoError(t, err)

	return slowRequest{Conn: conn, from: bufio.NewReader(conn)}
}

// Many slow bodies do not keep other clients out. The server gives up some with 503, and the others
// can still be completed.
func TestSlowBodiesKeepNobodyOut(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	s.Register("ann@example.com")

	const extra = 20
	const login = `{"email":"ann@example.com","password":"wrong password"}`
	head := fmt.Sprintf("Content-Length: %d\r\n\r\n", len(login))
	slow := make([]slowRequest, httpapi.MaxWaitingBodies+extra)
	for i := range slow {
		slow[i] = startSlow(t, s, "POST /auth/login", head+login[:10])
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
		res, err := http.ReadResponse(r.from, nil)
		testkit.NoError(t, err)
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

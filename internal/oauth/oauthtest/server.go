package oauthtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Endpoint is one of a provider's.
type Endpoint string

// What providers are asked. The last two are GitHub's.
const (
	Discovery Endpoint = "/.well-known/openid-configuration"
	Keys      Endpoint = "/keys"
	Token     Endpoint = "/token"
	UserInfo  Endpoint = "/userinfo"
	User      Endpoint = "/api/v3/user"
	Emails    Endpoint = "/api/v3/user/emails"
)

// Fault is how an endpoint fails. The zero value is how it does not.
type Fault struct {
	// Wait holds the answer back until it is closed; WaitBody only the second half of it.
	// One that is never closed is a provider that hangs.
	Wait, WaitBody <-chan struct{}
	// Status is answered with a body that repeats all of the question, as careless
	// servers do.
	Status int
	Header http.Header
	// Body is answered instead of the right one, if it is not empty.
	Body string
	// Padding is how many spaces follow the body, which mean nothing in JSON.
	Padding int
	// Redirect is where the client is sent with the same question (status 307).
	Redirect string
	// Cut ends the connection without an answer.
	Cut bool
}

// answer is what an endpoint says without a fault.
type answer struct {
	status int
	kind   string // media type
	body   []byte
}

func jsonAnswer(status int, value any) answer {
	body, err := json.Marshal(value)
	if err != nil {
		return answer{http.StatusInternalServerError, "text/plain", []byte(err.Error())}
	}
	return answer{status, "application/json", body}
}

// server is what both providers are made of.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	faults map[Endpoint]Fault
	calls  map[Endpoint]int
	closed chan struct{} // ends all that hangs
}

func newServer() *server {
	return &server{faults: map[Endpoint]Fault{}, calls: map[Endpoint]int{}, closed: make(chan struct{})}
}

func (s *server) start(t testing.TB, mux *http.ServeMux, secure bool) {
	s.Server = httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		close(s.closed)
		s.Close()
	})
}

// Break makes an endpoint fail from now on; a zero Fault mends it.
func (s *server) Break(e Endpoint, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[e] = f
}

// Calls is how often an endpoint was asked.
func (s *server) Calls(e Endpoint) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[e]
}

// serve makes a handler of an endpoint.
func (s *server) serve(e Endpoint, answered func(r *http.Request) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(question))
		s.mu.Lock()
		s.calls[e]++
		f := s.faults[e]
		s.mu.Unlock()
		if !s.wait(r, f.Wait) {
			return
		}
		a := answered(r)
		for name, values := range f.Header {
			w.Header()[name] = values
		}
		switch {
		case f.Cut:
			panic(http.ErrAbortHandler)
		case f.Redirect != "":
			w.Header().Set("Location", f.Redirect)
			a.status = http.StatusTemporaryRedirect
		case f.Status != 0:
			a.status, a.body = f.Status, fmt.Appendf(nil, "%s %s\n%v\n%s\n%s", r.Method, r.URL, r.Header, question, a.body)
		}
		if f.Body != "" {
			a.body = []byte(f.Body)
		}
		a.body = append(a.body, strings.Repeat(" ", f.Padding)...)
		s.write(w, r, a, f)
	}
}

func (s *server) write(w http.ResponseWriter, r *http.Request, a answer, f Fault) {
	w.Header().Set("Content-Type", a.kind)
	w.WriteHeader(a.status)
	half := len(a.body) / 2
	_, _ = w.Write(a.body[:half])
	if f.WaitBody != nil {
		_ = http.NewResponseController(w).Flush()
		if !s.wait(r, f.WaitBody) {
			return
		}
	}
	_, _ = w.Write(a.body[half:])
}

// wait waits for a gate, and tells whether it was opened.
func (s *server) wait(r *http.Request, gate <-chan struct{}) bool {
	if gate == nil {
		return true
	}
	select {
	case <-gate:
		return true
	case <-r.Context().Done():
	case <-s.closed:
	}
	return false
}

// form reads the parameters of a question; twice the same one makes it not ok.
func form(r *http.Request) (values url.Values, ok bool) {
	if r.ParseForm() != nil || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
		return nil, false
	}
	for _, v := range r.PostForm {
		if len(v) != 1 {
			return nil, false
		}
	}
	return r.PostForm, true
}

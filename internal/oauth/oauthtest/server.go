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

// Endpoint is an endpoint of a provider.
type Endpoint string

// The endpoints. The last two belong to GitHub.
const (
	Discovery Endpoint = "/.well-known/openid-configuration"
	Keys      Endpoint = "/keys"
	Token     Endpoint = "/token"
	UserInfo  Endpoint = "/userinfo"
	User      Endpoint = "/api/v3/user"
	Emails    Endpoint = "/api/v3/user/emails"
)

// Fault is how an endpoint fails. The zero value is a working endpoint.
type Fault struct {
	// Wait delays the response until the channel is closed. A channel that is never closed
	// simulates a provider that hangs.
	Wait <-chan struct{}
	// WaitBody delays only the second half of the body.
	WaitBody <-chan struct{}
	// Status replaces the status. The body then repeats the request, as careless servers do.
	Status int
	Header http.Header
	// Body replaces the body, if it is not empty.
	Body string
	// Padding is the number of spaces after the body, which are insignificant in JSON.
	Padding int
	// Cut closes the connection without a response.
	Cut bool
}

// response is what an endpoint returns without a fault.
type response struct {
	status    int
	mediaType string
	body      []byte
}

func jsonResponse(status int, value any) response {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // a bug in the test
	}

	return response{status, "application/json", body}
}

// server is the HTTP server of a provider.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	faults map[Endpoint]Fault
	calls  map[Endpoint]int
	closed chan struct{} // closed to release waiting requests
}

func newServer() *server {
	return &server{
		faults: map[Endpoint]Fault{},
		calls:  map[Endpoint]int{},
		closed: make(chan struct{}),
	}
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

// Break makes an endpoint fail from now on. A zero Fault repairs it.
func (s *server) Break(e Endpoint, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.faults[e] = f
}

// Calls returns the number of requests to an endpoint.
func (s *server) Calls(e Endpoint) int {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.calls[e]
}

// serve returns the handler of an endpoint, which calls handle and applies the current fault.
func (s *server) serve(e Endpoint, handle func(r *http.Request) response) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		requestBody, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(requestBody))

		s.mu.Lock()
		s.calls[e]++
		f := s.faults[e]
		s.mu.Unlock()

		if !s.wait(r, f.Wait) {
			return
		}

		res := handle(r)
		for name, values := range f.Header {
			w.Header()[name] = values
		}

		switch {
		case f.Cut:
			panic(http.ErrAbortHandler)
		case f.Status != 0:
			res.status = f.Status
			res.body = fmt.Appendf(nil, "%s %s\n%v\n%s\n%s", r.Method, r.URL, r.Header, requestBody, res.body)
		}

		if f.Body != "" {
			res.body = []byte(f.Body)
		}
		res.body = append(res.body, strings.Repeat(" ", f.Padding)...)

		s.write(w, r, res, f)
	}
}

func (s *server) write(w http.ResponseWriter, r *http.Request, res response, f Fault) {
	w.Header().Set("Content-Type", res.mediaType)
	w.WriteHeader(res.status)

	half := len(res.body) / 2
	_, _ = w.Write(res.body[:half])

	if f.WaitBody != nil {
		_ = http.NewResponseController(w).Flush()
		if !s.wait(r, f.WaitBody) {
			return
		}
	}

	_, _ = w.Write(res.body[half:])
}

// wait waits until gate is closed, and reports whether it was.
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

// form parses the form in the body of a request. It returns false for a repeated parameter or
// parameters in the URL.
func form(r *http.Request) (values url.Values, ok bool) {
	isForm := r.Header.Get("Content-Type") == "application/x-www-form-urlencoded"
	if r.ParseForm() != nil || !isForm || r.URL.RawQuery != "" {
		return nil, false
	}

	for _, v := range r.PostForm {
		if len(v) != 1 {
			return nil, false
		}
	}

	return r.PostForm, true
}

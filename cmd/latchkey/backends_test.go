package main

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// relay passes requests of a backend on to the server. It records them, and can answer them itself.
type relay struct {
	*httptest.Server

	mu     sync.Mutex
	seen   []http.Header
	answer http.HandlerFunc // nil to pass requests on
}

func startRelay(t *testing.T, addr string) *relay {
	t.Helper()

	r := &relay{}
	forward := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.Out.URL.Scheme = "http"
		p.Out.URL.Host = addr
	}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.seen = append(r.seen, req.Header.Clone())
		answer := r.answer
		r.mu.Unlock()

		if answer != nil {
			answer(w, req)
			return
		}
		forward.ServeHTTP(w, req)
	}))
	t.Cleanup(r.Close)

	return r
}

func (r *relay) setAnswer(answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.answer = answer
}

// takeSeen returns the headers of the requests since the last call.
func (r *relay) takeSeen() []http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()

	seen := r.seen
	r.seen = nil

	return seen
}

// backends are the examples in deployments/backend with their commands.
var backends = []struct {
	dir   string
	start func(t *testing.T, dir string) *exec.Cmd
}{
	{"express", func(t *testing.T, dir string) *exec.Cmd {
		copied := t.TempDir() // for node_modules
		testkit.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
		if out, err := exec.Command("npm", "ci", "--prefix", copied, "--no-audit", "--no-fund").CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}

		return exec.Command("node", copied+"/server.mjs")
	}},
	{"fastapi", func(_ *testing.T, dir string) *exec.Cmd {
		return exec.Command(cmp.Or(os.Getenv("PYTHON"), "python3"), "-B", dir+"/main.py")
	}},
	{"nethttp", func(t *testing.T, dir string) *exec.Cmd {
		file := t.TempDir() + "/nethttp"
		if out, err := exec.Command("go", "build", "-o", file, dir).CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}

		return exec.Command(file)
	}},
}

// The example backends let a request through only if Latchkey identifies its user.
func TestBackends(t *testing.T) {
	suite.Require(t, suite.Backends)

	addr, _, _ := start(t, environment(t))
	for _, b := range backends {
		t.Run(b.dir, func(t *testing.T) {
			latchkey := startRelay(t, addr)
			listen := testkit.FreeAddr(t)
			_, port, _ := net.SplitHostPort(listen)

			command := b.start(t, "../../deployments/backend/"+b.dir)
			command.Env = append(os.Environ(), "LATCHKEY_URL="+latchkey.URL, "PORT="+port)
			startCommand(t, command)
			waitForListener(t, listen)

			checkBackend(t, addr, "http://"+listen, latchkey)
		})
	}
}

// backendUser is a user of a backend.
type backendUser struct{ id, cookie string }

func registerBackendUser(t *testing.T, addr, email string) backendUser {
	t.Helper()

	res := mustSend(t, 201, "POST", "http://"+addr+"/auth/register", `{"name":"Ann","email":"`+email+`","password":"a long password"}`)
	var body struct{ User struct{ ID string } }
	testkit.NoError(t, json.Unmarshal([]byte(res.text), &body))

	return backendUser{body.User.ID, res.cookie()}
}

// userOf returns the user that the backend has found, or "".
func userOf(res response) string {
	var body struct{ UserID string }
	if res.StatusCode >= 300 || json.Unmarshal([]byte(res.text), &body) != nil {
		return ""
	}

	return body.UserID
}

func checkBackend(t *testing.T, addr, backend string, latchkey *relay) {
	name := t.Name()[strings.LastIndex(t.Name(), "/")+1:]
	ann := registerBackendUser(t, addr, "ann@"+name+".example")
	bob := registerBackendUser(t, addr, "bob@"+name+".example")
	get := func(headers ...string) response {
		t.Helper()

		return send(t, "GET", backend+"/orders", "", headers...)
	}
	wantUser := func(res response, want string) {
		t.Helper()

		if got := userOf(res); got != want || got == "" {
			t.Errorf("got %d %s, want the user %s", res.StatusCode, res.text, want)
		}
	}
	wantRefused := func(res response, status int, text string) {
		t.Helper()

		if res.StatusCode != status || !strings.Contains(res.text, text) {
			t.Errorf("got %d %s, want %d with %q", res.StatusCode, res.text, status, text)
		}
	}
	latchkey.takeSeen()

	// Only the session cookie goes to Latchkey, and nothing else that identifies a user.
	wantUser(get("Cookie", "cart=1; "+ann.cookie+"; mysid=2; sid2=3", "Authorization", "Bearer x", "X-Auth-User-Id", bob.id), ann.id)
	for _, seen := range latchkey.takeSeen() {
		if got := seen.Get("Cookie"); got != ann.cookie {
			t.Errorf("Latchkey got the cookies %q, want %q", got, ann.cookie)
		}
		for _, header := range []string{"Authorization", "X-Auth-User-Id"} {
			if got := seen.Get(header); got != "" {
				t.Errorf("Latchkey got %s: %s", header, got)
			}
		}
	}

	// A backend must not remember the cookie of a user, not even one that it gets from Latchkey.
	latchkey.setAnswer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "sid=of-another-user; Path=/")
		w.Header().Set("X-Auth-User-Id", bob.id)
	})
	wantUser(get("Cookie", bob.cookie), bob.id)
	latchkey.setAnswer(nil)
	latchkey.takeSeen()
	wantRefused(get(), 401, "not_authenticated")
	for _, seen := range latchkey.takeSeen() {
		if got := seen.Get("Cookie"); got != "" {
			t.Errorf("Latchkey got the cookies %q of another request", got)
		}
	}
	wantUser(get("Cookie", bob.cookie), bob.id)
	wantRefused(get(), 401, "Please login to continue")
	wantRefused(get("X-Auth-User-Id", ann.id, "Cookie", "cart=1"), 401, "not_authenticated")
	wantRefused(get("Cookie", "__Host-sid=garbage"), 401, "not_authenticated")
	wantUser(get("Cookie", ann.cookie), ann.id)

	// Only pages of the backend's own origin may change something.
	post := func(headers ...string) response {
		t.Helper()

		return send(t, "POST", backend+"/orders", "{}", append(headers, "Cookie", ann.cookie)...)
	}
	wantUser(post(), ann.id)
	wantUser(post("Sec-Fetch-Site", "same-origin"), ann.id)
	wantRefused(post("Sec-Fetch-Site", "cross-site"), 403, "")
	wantRefused(post("Sec-Fetch-Site", "same-site"), 403, "")

	// A session that has ended is over at once.
	if res := send(t, "POST", "http://"+addr+"/auth/logout", "", "Cookie", bob.cookie); res.StatusCode != http.StatusOK {
		t.Fatalf("logout: got %d %s, want 200", res.StatusCode, res.text)
	}
	wantRefused(get("Cookie", bob.cookie), 401, "logged_out")

	// What Latchkey has not confirmed is not signed in, and not signed out.
	for what, answer := range map[string]http.HandlerFunc{
		"stores down": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"closed":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"not the API": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>Welcome</html>")) },
		"moved": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				http.Redirect(w, r, "/", http.StatusFound)
			}
		},
	} {
		latchkey.setAnswer(answer)
		res := get("Cookie", ann.cookie)
		if res.StatusCode != http.StatusServiceUnavailable || userOf(res) != "" {
			t.Errorf("%s: got %d %s, want 503", what, res.StatusCode, res.text)
		}
	}

	latchkey.setAnswer(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"status":403,"code":"email_not_verified"}`))
	})
	wantRefused(get("Cookie", ann.cookie), 403, "email_not_verified")

	latchkey.setAnswer(nil)
	wantUser(get("Cookie", ann.cookie), ann.id)
	latchkey.CloseClientConnections()
	latchkey.Close()
	wantRefused(get("Cookie", ann.cookie), 503, "")
}

var codeBlock = regexp.MustCompile("(?s)```(?:js|go|python)\n(.*?)```")

// The code in the documents is that of the examples, which TestBackends runs.
func TestDocumentedBackends(t *testing.T) {
	t.Parallel()

	var sources []string
	for _, file := range []string{"express/server.mjs", "nethttp/main.go", "fastapi/main.py"} {
		source, err := os.ReadFile("../../deployments/backend/" + file)
		testkit.NoError(t, err)
		sources = append(sources, string(source))
	}

	for file, want := range map[string]int{"../../README.md": 1, "../../deployments/backend/README.md": 3} {
		page, err := os.ReadFile(file)
		testkit.NoError(t, err)

		got := 0
		for _, block := range codeBlock.FindAllStringSubmatch(string(page), -1) {
			if !strings.Contains(block[1], "/auth/verify") {
				continue
			}

			got++
			if !slices.ContainsFunc(sources, func(source string) bool { return strings.Contains(source, block[1]) }) {
				t.Errorf("%s: no example contains\n%s", file, block[1])
			}
		}
		if got != want {
			t.Errorf("%s: got %d middlewares, want %d", file, got, want)
		}
	}
}

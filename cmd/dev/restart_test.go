package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/testkit"
)

// childVariable makes the test binary run the program instead of the tests, so that it can be killed.
const childVariable = "LATCHKEY_DEV_CHILD"

// TestSessionsSurviveRestart signs in and restarts the server with the same cookies.
func TestSessionsSurviveRestart(t *testing.T) {
	t.Chdir(t.TempDir())

	server := startDev(t)
	ann := register(t, server.api, "ann@example.com")
	bob := register(t, server.api, "bob@example.com")
	shortLived := startSession(t, server.api, "ann@example.com")
	wantSignedIn(t, server.api, "before a restart", ann, bob, shortLived)

	send(t, http.MethodPost, server.api+"/auth/logout", bob, "")
	server.stop()

	expire(t, shortLived)
	server = startDev(t)
	wantSignedIn(t, server.api, "after a restart", ann)
	wantSignedOut(t, server.api, "after a logout and a restart", bob)
	wantSignedOut(t, server.api, "after its expiry and a restart", shortLived)

	if got := post(t, server.api+"/auth/login", `{"email":"ann@example.com","password":"a long password"}`); !strings.Contains(got, "Login successful") {
		t.Errorf("login after a restart: got %s, want a success", got)
	}
	server.stop()

	wantPrivate(t)
}

// TestSessionsSurviveKill kills the server with SIGKILL. Only what happened in the last seconds is lost.
func TestSessionsSurviveKill(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)

	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"=1", "PORT=0", "BCRYPT_COST=4")
	out := &testkit.Buffer{}
	child.Stdout = out
	child.Stderr = out
	testkit.NoError(t, child.Start())
	killed := false
	kill := func() {
		if !killed {
			killed = true
			_ = child.Process.Signal(syscall.SIGKILL)
			_ = child.Wait()
		}
	}
	t.Cleanup(kill)

	var api string
	testkit.Eventually(t, "the greeting", func() bool {
		if found := regexp.MustCompile(`API +(http://localhost:\d+)\n`).FindStringSubmatch(out.String()); found != nil {
			api = found[1]
		}
		return strings.Contains(out.String(), "Ctrl+C")
	})

	ann := register(t, api, "ann@example.com")
	testkit.Eventually(t, "a snapshot with a session", func() bool {
		content, err := os.ReadFile(filepath.Join(dataDir, snapshotFile))
		return err == nil && strings.Contains(string(content), sessionKey(ann.id))
	})
	kill()

	server := startDev(t)
	wantSignedIn(t, server.api, "after SIGKILL", ann)
	wantPrivate(t)
}

// TestDamagedState starts the server with files that it cannot use.
func TestDamagedState(t *testing.T) {
	t.Chdir(t.TempDir())

	server := startDev(t)
	ann := register(t, server.api, "ann@example.com")
	server.stop()

	for name, content := range map[string]string{snapshotFile: `{"format":"`, secretFile: "x"} {
		path := filepath.Join(dataDir, name)
		good, err := os.ReadFile(path)
		testkit.NoError(t, err)
		testkit.NoError(t, os.WriteFile(path, []byte(content), 0o600))

		server := startDev(t)
		if !strings.Contains(server.output, "level=WARN") || !strings.Contains(server.output, path) {
			t.Errorf("damaged %s: got output\n%s\nwant a warning with the path", name, server.output)
		}
		wantSignedOut(t, server.api, "with a damaged "+name, ann)
		if got := post(t, server.api+"/auth/login", `{"email":"ann@example.com","password":"a long password"}`); !strings.Contains(got, "Login successful") {
			t.Errorf("damaged %s: login: got %s, want a success", name, got)
		}
		server.stop()

		testkit.NoError(t, os.WriteFile(path, good, 0o600))
	}
}

// devSession is a session with its cookie.
type devSession struct {
	id, cookie string
}

func register(t *testing.T, api, email string) devSession {
	t.Helper()

	body := `{"name":"Ann","email":"` + email + `","password":"a long password"}`
	res := send(t, http.MethodPost, api+"/auth/register", devSession{}, body)

	return newDevSession(t, api, res)
}

func startSession(t *testing.T, api, email string) devSession {
	t.Helper()

	res := send(t, http.MethodPost, api+"/auth/login", devSession{}, `{"email":"`+email+`","password":"a long password"}`)

	return newDevSession(t, api, res)
}

// newDevSession returns the session of a response that starts one.
func newDevSession(t *testing.T, api string, res *http.Response) devSession {
	t.Helper()

	var s devSession
	for _, cookie := range res.Cookies() {
		if cookie.Name == "sid" {
			s.cookie = cookie.Value
		}
	}

	var body struct{ SessionID string }
	testkit.NoError(t, json.NewDecoder(send(t, http.MethodGet, api+"/auth/session", s, "").Body).Decode(&body))
	s.id = body.SessionID

	return s
}

// send sends a request with the cookie of a session, whose response is closed when the test ends.
func send(t *testing.T, method, url string, s devSession, body string) *http.Response {
	t.Helper()

	req, err := http.NewRequest(method, url, strings.NewReader(body))
	testkit.NoError(t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.cookie != "" {
		req.AddCookie(&http.Cookie{Name: "sid", Value: s.cookie})
	}
	res, err := http.DefaultClient.Do(req)
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })

	return res
}

func wantSignedIn(t *testing.T, api, when string, sessions ...devSession) {
	t.Helper()

	for i, s := range sessions {
		if res := send(t, http.MethodGet, api+"/auth/me", s, ""); res.StatusCode != http.StatusOK {
			t.Errorf("session %d %s: got status %d, want 200", i, when, res.StatusCode)
		}
	}
}

func wantSignedOut(t *testing.T, api, when string, s devSession) {
	t.Helper()

	if res := send(t, http.MethodGet, api+"/auth/me", s, ""); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("session %s: got status %d, want 401", when, res.StatusCode)
	}
}

// sessionKey returns how a snapshot contains the key of a session.
func sessionKey(id string) string {
	encoded, _ := json.Marshal([]byte("sess:" + id))

	return string(encoded)
}

// expire changes the snapshot as if a session's time to live had passed while the server was stopped.
func expire(t *testing.T, s devSession) {
	t.Helper()

	path := filepath.Join(dataDir, snapshotFile)
	content, err := os.ReadFile(path)
	testkit.NoError(t, err)

	var all struct {
		Format string           `json:"format"`
		Keys   []map[string]any `json:"keys"`
	}
	testkit.NoError(t, json.Unmarshal(content, &all))
	found := false
	for _, key := range all.Keys {
		if name, _ := json.Marshal(key["name"]); string(name) == sessionKey(s.id) {
			key["expiresAt"] = time.Now().Add(-time.Second)
			found = true
		}
	}
	if !found {
		t.Fatalf("the snapshot has no session %s:\n%s", s.id, content)
	}

	content, err = json.Marshal(all)
	testkit.NoError(t, err)
	testkit.NoError(t, os.WriteFile(path, content, 0o600))
}

// wantPrivate checks that only the owner can read the files of the server.
func wantPrivate(t *testing.T) {
	t.Helper()

	for _, name := range []string{".", snapshotFile, secretFile, keyFile} {
		info, err := os.Stat(filepath.Join(dataDir, name))
		testkit.NoError(t, err)
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			t.Errorf("%s/%s: got mode %v, want none for others", dataDir, name, mode)
		}
	}
}

package auth

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The password of these tests, and its hash as the protocol cuts it.
const breached = "an unlikely but breached one"

func cut(password string) (prefix, suffix string) {
	hash := fmt.Sprintf("%X", sha1.Sum([]byte(password)))
	return hash[:5], hash[5:]
}

// answering is a list of breached passwords, and rules that ask it.
func answering(t *testing.T, answer http.HandlerFunc) (Rules, *bytes.Buffer, *httptest.Server) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	log := new(bytes.Buffer)
	rules := NewRules(true, server.URL+"/range/", slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(rules.breach.client.CloseIdleConnections)
	return rules, log, server
}

// others are lines of an answer about other passwords.
func others(n int) string {
	var b strings.Builder
	for i := range n {
		_, suffix := cut(fmt.Sprint("other", i))
		fmt.Fprintf(&b, "%s:%d\r\n", suffix, i+1)
	}
	return b.String()
}

func TestBreached(t *testing.T) {
	t.Parallel()
	_, suffix := cut(breached)
	for name, tc := range map[string]struct {
		answer string
		want   Weakness
	}{
		"listed":            {others(500) + suffix + ":7\r\n" + others(500), Breached},
		"listed last":       {others(500) + suffix + ":10", Breached},
		"in lower case":     {strings.ToLower(suffix) + ":1\r\n", Breached},
		"bare line feeds":   {strings.ReplaceAll(others(5), "\r", "") + suffix + ":1\n", Breached},
		"not listed":        {others(1000), ""},
		"an empty range":    {"", ""},
		"padding":           {others(500) + suffix + ":0\r\n" + others(500), ""},
		"padding, and then": {suffix + ":0\r\n" + suffix + ":2\r\n", Breached},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules, log, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tc.answer) })
			if got := why(t, rules.Check(t.Context(), breached)); got != tc.want || log.Len() > 0 {
				t.Errorf("%q, want %q; logged %s", got, tc.want, log)
			}
		})
	}
}

// Five characters of a hash leave, and only of a password that nothing else refuses.
func TestOnlyThePrefixLeaves(t *testing.T) {
	t.Parallel()
	var asked []string
	rules, _, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		dump, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		asked = append(asked, r.Method+" "+r.RequestURI)
		if r.Header.Get("Add-Padding") != "true" || r.UserAgent() != "latchkey" || r.ContentLength != 0 {
			t.Errorf("asked with %s", dump)
		}
		_, suffix := cut(breached)
		for _, secret := range []string{breached, suffix[:2], "Bergstrom", "Referer", "Cookie"} {
			if rest := bytes.Replace(dump, []byte(r.RequestURI), nil, 1); bytes.Contains(rest, []byte(secret)) {
				t.Errorf("%q left: %s", secret, dump)
			}
		}
	})
	for _, password := range []string{"short", "password123", "latchkey1", "Bergstrom1", breached} {
		_ = rules.Check(t.Context(), password, "Ann Bergstrom")
	}
	prefix, _ := cut(breached)
	if want := []string{"GET /range/" + prefix}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// Someone else's service that fails does not keep anyone from signing up; the
// operator reads of it, and nothing of the password.
func TestBreachListFails(t *testing.T) {
	t.Parallel()
	prefix, suffix := cut(breached)
	line := suffix + ":7\r\n"
	endless := func(w http.ResponseWriter, r *http.Request) {
		for chunk := []byte(others(1000)); r.Context().Err() == nil; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		_, _ = io.WriteString(w, line)
	}))
	t.Cleanup(other.Close)
	for name, answer := range map[string]http.HandlerFunc{
		"down": nil,
		"silent": func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		},
		"stuck half way": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, others(3))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, others(3))
		},
		"status 502": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, line)
		},
		"status 204":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"a redirect":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"a page":      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<!doctype html>\n"+line) },
		"no counts":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, suffix+"\r\n") },
		"a bad count": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, suffix+":-1\r\n") },
		"a long line": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("A", 1<<17)) },
		"endless":     endless,
		"an echo": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\n\r\n", r.RequestURI)
			_ = conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules, log, server := answering(t, answer)
			if answer == nil {
				server.Close()
			}
			if name == "silent" || name == "stuck half way" {
				rules.breach.limit = 20 * time.Millisecond // or the test never ends
			} else {
				rules.breach.limit = time.Minute // a slow machine is not what is tested
			}
			rules.breach.url = strings.Replace(rules.breach.url, "http://", "http://me:key-to-the-list@", 1)
			if err := rules.Check(t.Context(), breached); err != nil {
				t.Errorf("refused: %v", err)
			}
			checkLog(t, log.String(), breached, prefix, suffix, "key-to-the-list")
		})
	}
	t.Cleanup(func() {
		if n := elsewhere.Load(); n > 0 {
			t.Errorf("%d redirects were followed", n)
		}
	})
}

// checkLog wants one line, about the list and without any of the secrets.
func checkLog(t *testing.T, log string, secrets ...string) {
	t.Helper()
	if strings.Count(log, "\n") != 1 || !strings.Contains(log, "level=WARN") || !strings.Contains(log, "list of breached passwords") {
		t.Errorf("logged %q", log)
	}
	for _, secret := range secrets {
		if strings.Contains(strings.ToUpper(log), strings.ToUpper(secret)) {
			t.Errorf("%q is in the log: %s", secret, log)
		}
	}
}

// A server whose certificate nobody vouches for is not asked, and neither is what is
// no address at all.
func TestBreachListIsVerified(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked") }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	prefix, _ := cut(breached)
	for _, url := range []string{server.URL, "http://me:key-to-the-list@[", "://key-to-the-list", "key-to-the-list"} {
		var log bytes.Buffer
		rules := NewRules(false, url, slog.New(slog.NewTextHandler(&log, nil)))
		rules.breach.limit = time.Minute
		if err := rules.Check(t.Context(), breached); err != nil {
			t.Errorf("%s: refused: %v", url, err)
		}
		checkLog(t, log.String(), prefix, "key-to-the-list")
	}
}

// Who hangs up meanwhile has not chosen a good password.
func TestBreachAskerLeaves(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	rules, log, _ := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	rules.breach.limit = time.Hour
	if err := rules.Check(ctx, breached); !errors.Is(err, context.Canceled) || log.Len() > 0 {
		t.Errorf("%v; logged %s", err, log)
	}
	if rules := NewRules(true, "https://list.example", nil); rules.breach.limit != 1500*time.Millisecond {
		t.Errorf("waits %v", rules.breach.limit)
	}
}

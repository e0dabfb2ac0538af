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
	"testing"
	"time"
)

// breached is the password of these tests.
const breached = "an unlikely but breached one"

// hashParts returns the hash of a password, split as the API requires.
func hashParts(password string) (prefix, suffix string) {
	hash := fmt.Sprintf("%X", sha1.Sum([]byte(password)))

	return hash[:5], hash[5:]
}

// breachServer starts a breach service, and returns Rules that use it and their log.
func breachServer(t *testing.T, handler http.HandlerFunc) (Rules, *bytes.Buffer, *httptest.Server) {
	t.Helper()

	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	log := new(bytes.Buffer)
	rules := NewRules(true, server.URL+"/range/", slog.New(slog.NewTextHandler(log, nil)))
	rules.AppName = "Latchkey"

	t.Cleanup(rules.breach.client.CloseIdleConnections)

	return rules, log, server
}

// respondWith returns a handler that responds with a body.
func respondWith(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// otherLines returns lines of a response for other passwords.
func otherLines(n int) string {
	var b strings.Builder
	for i := range n {
		_, suffix := hashParts(fmt.Sprint("other", i))
		fmt.Fprintf(&b, "%s:%d\r\n", suffix, i+1)
	}

	return b.String()
}

func TestBreached(t *testing.T) {
	t.Parallel()

	_, suffix := hashParts(breached)
	for name, tc := range map[string]struct {
		response string
		want     Weakness
	}{
		"listed":             {otherLines(500) + suffix + ":7\r\n" + otherLines(500), Breached},
		"listed last":        {otherLines(500) + suffix + ":10", Breached},
		"in lower case":      {strings.ToLower(suffix) + ":1\r\n", Breached},
		"bare line feeds":    {strings.ReplaceAll(otherLines(5), "\r", "") + suffix + ":1\n", Breached},
		"not listed":         {otherLines(1000), ""},
		"empty range":        {"", ""},
		"padding":            {otherLines(500) + suffix + ":0\r\n" + otherLines(500), ""},
		"padding and listed": {suffix + ":0\r\n" + suffix + ":2\r\n", Breached},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			rules, log, _ := breachServer(t, respondWith(tc.response))
			if got := why(t, rules.Check(t.Context(), breached)); got != tc.want || log.Len() > 0 {
				t.Errorf("got %q and log %s, want %q and no log", got, log, tc.want)
			}
		})
	}
}

// Only five characters of the hash are sent, and only if no other rule refuses the password.
func TestOnlyThePrefixIsSent(t *testing.T) {
	t.Parallel()

	var requests []string
	rules, _, _ := breachServer(t, func(w http.ResponseWriter, r *http.Request) {
		dump, _ := httputil.DumpRequest(r, true)
		requests = append(requests, r.Method+" "+r.RequestURI)
		if r.Header.Get("Add-Padding") != "true" || r.UserAgent() != "latchkey" || r.ContentLength != 0 {
			t.Errorf("got request %s, want padding, our User-Agent and no body", dump)
		}

		_, suffix := hashParts(breached)
		for _, secret := range []string{breached, suffix[:2], "Bergstrom", "Referer", "Cookie"} {
			if rest := bytes.Replace(dump, []byte(r.RequestURI), nil, 1); bytes.Contains(rest, []byte(secret)) {
				t.Errorf("got %q in the request: %s", secret, dump)
			}
		}
	})

	for _, password := range []string{"short", "password123", "latchkey1", "Bergstrom1", breached} {
		_ = rules.Check(t.Context(), password, "Ann Bergstrom")
	}

	prefix, _ := hashParts(breached)
	if want := []string{"GET /range/" + prefix}; !slices.Equal(requests, want) {
		t.Errorf("got requests %q, want %q", requests, want)
	}
}

// If the breach service fails, passwords are accepted. A warning without the password is logged.
func TestBreachServiceFails(t *testing.T) {
	t.Parallel()

	prefix, suffix := hashParts(breached)
	line := suffix + ":7\r\n"
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(other.Close)

	for name, handler := range map[string]http.HandlerFunc{
		"down":  nil,
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"hangs in the body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, otherLines(3))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"truncated": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, otherLines(3))
		},
		"status 502": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, line)
		},
		"status 204":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"redirect":       func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"HTML page":      respondWith("<!doctype html>\n" + line),
		"no counts":      respondWith(suffix + "\r\n"),
		"negative count": respondWith(suffix + ":-1\r\n"),
		"long line":      respondWith(strings.Repeat("A", 1<<17)),
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for chunk := otherLines(1000); r.Context().Err() == nil; {
				_, _ = io.WriteString(w, chunk)
			}
		},
		"echo of the request": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Errorf("got error %v, want none", err)
				return
			}

			_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\n\r\n", r.RequestURI)
			_ = conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			rules, log, server := breachServer(t, handler)
			rules.breach.timeout = time.Minute // the machine may be slow
			if strings.HasPrefix(name, "hangs") {
				rules.breach.timeout = 20 * time.Millisecond // otherwise the test never ends
			}
			if handler == nil {
				server.Close()
			}

			rules.breach.url = strings.Replace(rules.breach.url, "http://", "http://me:key-to-the-list@", 1)
			if err := rules.Check(t.Context(), breached); err != nil {
				t.Errorf("got error %v, want the password to be accepted", err)
			}

			checkLog(t, log.String(), breached, prefix, suffix, "key-to-the-list")
		})
	}
}

// checkLog checks that the log has one warning about the breach service, without any secret.
func checkLog(t *testing.T, log string, secrets ...string) {
	t.Helper()

	if strings.Count(log, "\n") != 1 || !strings.Contains(log, "level=WARN") || !strings.Contains(log, "cannot check whether a password is breached") {
		t.Errorf("got log %q, want one warning", log)
	}

	for _, secret := range secrets {
		if strings.Contains(strings.ToUpper(log), strings.ToUpper(secret)) {
			t.Errorf("got %q in the log: %s", secret, log)
		}
	}
}

// Nothing is sent to a server with an untrusted certificate, or to an invalid URL.
func TestBreachServiceIsVerified(t *testing.T) {
	t.Parallel()

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("got a request, want none") }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()

	t.Cleanup(server.Close)
	prefix, _ := hashParts(breached)

	for _, url := range []string{server.URL, "http://me:key-to-the-list@[", "://key-to-the-list", "key-to-the-list"} {
		var log bytes.Buffer
		rules := NewRules(false, url, slog.New(slog.NewTextHandler(&log, nil)))
		rules.breach.timeout = time.Minute
		if err := rules.Check(t.Context(), breached); err != nil {
			t.Errorf("%s: got error %v, want the password to be accepted", url, err)
		}

		checkLog(t, log.String(), prefix, "key-to-the-list")
	}
}

// If the client disconnects during the request, the password is not accepted.
func TestBreachCheckCancelled(t *testing.T) {
	t.Parallel()

	ctx, cancel := context.WithCancel(t.Context())
	rules, log, _ := breachServer(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})

	rules.breach.timeout = time.Hour
	if err := rules.Check(ctx, breached); !errors.Is(err, context.Canceled) || log.Len() > 0 {
		t.Errorf("got error %v and log %s, want context.Canceled and no log", err, log)
	}

	if rules := NewRules(true, "https://list.example", nil); rules.breach.timeout != 1500*time.Millisecond {
		t.Errorf("got timeout %v, want 1.5s", rules.breach.timeout)
	}
}

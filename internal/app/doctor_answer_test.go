package app

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"latchkey/internal/config"
	"latchkey/internal/doctor"
	"latchkey/internal/testkit"
)

// TestDoctorAsksAPI runs the doctor against servers with the same and other settings, against something
// else, and where nothing listens.
func TestDoctorAsksAPI(t *testing.T) {
	t.Parallel()

	const page = "http://localhost:4000"
	serve := func(frontendURL string) (config.Config, string) {
		c := load(t, config.Production, frontendURL)
		a, err := New(t.Context(), c, nil, io.Discard)
		testkit.NoError(t, err)
		server := httptest.NewServer(a.api)
		t.Cleanup(func() {
			server.Close()
			_ = a.listener.Close()
			a.close()
		})

		return c, server.URL
	}
	listed, allowing := serve(page)
	unlisted, refusing := serve("http://localhost:4001")

	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Redirect(w, &http.Request{}, allowing+"/auth/session", http.StatusFound)
	}))
	t.Cleanup(other.Close)

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()

	for name, tc := range map[string]struct {
		settings config.Config
		api      string
		level    doctor.Level
		message  string
	}{
		"same settings":     {listed, allowing, doctor.OK, "running at " + allowing},
		"a trailing slash":  {listed, allowing + "/", doctor.OK, "running at " + allowing},
		"both refuse":       {unlisted, refusing, doctor.OK, "running at " + refusing},
		"not restarted":     {listed, refusing, doctor.Problem, "it does not allow " + page},
		"too few settings":  {unlisted, allowing, doctor.Warning, "it allows " + page},
		"something else":    {listed, other.URL, doctor.Problem, "responds with status 302, but is not Latchkey"},
		"nothing":           {listed, "http://127.0.0.1:1", doctor.Warning, "not running: nothing listens at http://127.0.0.1:1"},
		"closed connection": {listed, "http://" + silent.Addr().String(), doctor.Warning, "no response from http://" + silent.Addr().String() + ": "},
	} {
		var found []doctor.Finding
		for _, f := range DiagnoseBrowser(t.Context(), tc.settings, page, tc.api) {
			if f.Subject == "API" {
				found = append(found, f)
			}
		}

		if len(found) == 0 {
			t.Errorf("%s: got no finding about the API", name)
			continue
		}
		last := found[len(found)-1]
		if last.Level != tc.level || !strings.Contains(last.Message, tc.message) || (last.Fix == "") != (tc.level == doctor.OK) {
			t.Errorf("%s: got %+v, want level %s and message %q", name, found, tc.level, tc.message)
		}
	}

	if found := DiagnoseBrowser(t.Context(), listed, "localhost:4000", "ftp://x"); len(found) != 2 {
		t.Errorf("invalid URLs: got %+v, want only the two findings about them", found)
	}
}

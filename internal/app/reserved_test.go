package app

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"latchkey/internal/config"
	"latchkey/internal/httpapi"
	"latchkey/internal/testkit"
)

// TestRoutesAreReserved checks that no provider can have the name of a route below /auth/. The
// routes are those in the OpenAPI document.
func TestRoutesAreReserved(t *testing.T) {
	t.Parallel()

	api, err := httpapi.New(nil, nil, nil, httpapi.Options{Log: slog.New(slog.DiscardHandler)})
	testkit.NoError(t, err)
	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))

	var document struct{ Paths map[string]any }
	testkit.NoError(t, json.Unmarshal(w.Body.Bytes(), &document))

	seen := 0
	for path := range document.Paths {
		rest, ok := strings.CutPrefix(path, "/auth/")
		word, _, _ := strings.Cut(rest, "/")
		if !ok || strings.HasPrefix(word, "{") {
			continue
		}

		seen++
		prefix := "OIDC_" + strings.ToUpper(strings.ReplaceAll(word, "-", "_")) + "_"
		_, err := config.Load(map[string]string{prefix + "ISSUER": "https://id.example.com"})
		if err == nil || !strings.Contains(err.Error(), "\n  "+prefix+"*: reserved provider name: /auth/"+word+" ") {
			t.Errorf("%s: got error %v, want %s to be a reserved provider name", path, err, word)
		}
	}
	if seen < 10 {
		t.Errorf("got %d routes below /auth/, want at least 10", seen)
	}
}

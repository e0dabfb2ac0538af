package app

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"latchkey/internal/config"
)

// No provider can be given the name of a route: what stands at /auth/<name> in the
// document is refused by the settings.
func TestRoutesAreNoProviders(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../httpapi/docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct{ Paths map[string]any }
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
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
		if err == nil || !strings.Contains(err.Error(), "\n  "+prefix+"*: a provider must have another name: /auth/"+word+" ") {
			t.Errorf("%s can be hidden by a provider: %v", path, err)
		}
	}
	if seen < 10 {
		t.Errorf("%d routes are below /auth/", seen)
	}
}

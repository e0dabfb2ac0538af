package httpapi

import (
	"net/http"
	"testing"

	"latchkey/internal/origin"
)

// Pages of all origins can import the client, and none gets more than the file by it.
func TestClientIsForAllOrigins(t *testing.T) {
	t.Parallel()

	api, err := New(nil, nil, nil, Options{Origins: origin.Trusted{Listed: []string{"https://app.example.com"}}, Log: apiWithoutStores().log})
	if err != nil {
		t.Fatal(err)
	}

	for _, path := range []string{"/client.js", "/client.d.ts"} {
		for _, from := range []string{"https://app.example.com", "https://other.example"} {
			res := requestDocs(api, "GET", path, "Origin", from)
			if res.StatusCode != http.StatusOK {
				t.Errorf("%s from %s: status %d, want 200", path, from, res.StatusCode)
			}

			for name, want := range map[string]string{
				"Access-Control-Allow-Origin":      "*",
				"Access-Control-Allow-Credentials": "",
				"Cross-Origin-Resource-Policy":     "cross-origin",
			} {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s from %s: %s: got %q, want %q", path, from, name, got, want)
				}
			}
		}
	}
}

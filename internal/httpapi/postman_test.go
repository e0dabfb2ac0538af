package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/testkit"
)

// TestPostmanCoversRoutes compares the Postman collection with the route table: each route
// has a request, and each request has a route.
func TestPostmanCoversRoutes(t *testing.T) {
	t.Parallel()

	// These need a browser and a provider, or belong to the documentation page.
	missing := map[string]bool{
		"GET /docs/*":                   true,
		"GET /auth/{provider}":          true,
		"GET /auth/{provider}/callback": true,
	}

	router := apiWithoutStores().handler.(chi.Routes)
	requested := map[string]bool{}
	for _, r := range postmanRequests(t) {
		method, path, _ := strings.Cut(r, " ")
		pattern := router.Find(chi.NewRouteContext(), method, path)
		if pattern == "" {
			t.Errorf("the collection requests %s, which is not a route", r)
		}

		requested[method+" "+pattern] = true
	}

	for _, route := range RoutesOf(t) {
		if requested[route] == missing[route] {
			t.Errorf("%s: requested by the collection: %v, want %v", route, requested[route], !missing[route])
		}
	}
}

// postmanRequests returns the API requests of the collection as "METHOD /path".
func postmanRequests(t *testing.T) []string {
	t.Helper()

	var collection struct {
		Folders []struct {
			Items []struct {
				Request struct {
					Method string
					URL    struct{ Raw string }
				}
			} `json:"item"`
		} `json:"item"`
	}

	testkit.NoError(t, json.Unmarshal(postman, &collection))

	var requests []string
	for _, folder := range collection.Folders {
		for _, item := range folder.Items {
			target, ok := strings.CutPrefix(item.Request.URL.Raw, "{{baseUrl}}")
			if !ok {
				continue // the outbox
			}

			path, _, _ := strings.Cut(target, "?")
			requests = append(requests, item.Request.Method+" "+path)
		}
	}

	return requests
}

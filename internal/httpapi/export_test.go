package httpapi

import (
	"net/http"
	"slices"
	"sync"
)

// OpenAPI returns the served OpenAPI document.
var OpenAPI = sync.OnceValue(func() []byte {
	document, err := apiWithoutStores().openAPI()
	if err != nil {
		panic(err)
	}

	return document
})

// Limits of requests and responses.
const (
	ActivityPage       = activityPage
	MaxBody            = maxBody
	MaxCookies         = maxCookies
	MaxFlowCookies     = maxFlowCookies
	MaxHeaders         = maxHeaders
	MaxPasswordBody    = maxPasswordBody
	MaxReportedProxies = maxReportedProxies
	MaxWaitingBodies   = maxWaitingBodies
)

// IsPublic reports whether the route "METHOD /path" works without a session, according to
// the route table.
func IsPublic(route string) bool { return tableByName()[route].access == public }

// RouteLimits returns the rate limit of each route in the table.
func RouteLimits() map[string]string {
	limits := map[string]string{}
	for name, route := range tableByName() {
		limits[name] = string(route.limit)
	}

	return limits
}

// AnswerFromMemory answers a session check, and reports whether it did.
func (s *Server) AnswerFromMemory(w http.ResponseWriter, r *http.Request) bool {
	return s.answerFromMemory(w, r)
}

// Route answers a request without AnswerFromMemory.
func (s *Server) Route(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// StepUpRoutes returns the sorted routes that demand a recent proof of identity, according to the route
// table.
func StepUpRoutes() []string {
	var routes []string
	for name, rt := range tableByName() {
		if slices.Contains(rt.errors, error(errStepUp)) {
			routes = append(routes, name)
		}
	}
	slices.Sort(routes)

	return routes
}

package httpapi

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/swaggest/openapi-go"
	"github.com/swaggest/openapi-go/openapi31"

	"latchkey/internal/buildinfo"
	"latchkey/internal/session"
)

const (
	apiDescription = "Accounts and cookie sessions.\n\n" +
		"A session is a cookie. **register** and **login** set it, other routes read it, and **logout** ends the session on the server. " +
		"A GET request with the header `X-Session-Touch: no` does not extend the idle timeout. " +
		"Send it with requests that the user has not caused, such as polling: otherwise an open page keeps its user signed in.\n\n" +
		"Requests and responses are JSON. A request without a body may send an empty object. " +
		"A failure is `application/problem+json` (RFC 9457) with a `code` for programs; its `message` is the same text as its `detail`. " +
		"Every response has an `X-Request-Id`, which is also in the server's log. " +
		"All times are in UTC."

	sessionScheme  = "sessionCookie"
	pendingScheme  = "pendingLoginCookie"
	problemType    = "application/problem+json"
	problemSchema  = "Problem"
	schemaPrefix   = "#/components/schemas/"
	redirectSchema = "SignInError"
)

// openAPIDocument is the root of an OpenAPI 3.1 document. Unlike openapi31.Spec it keeps
// the paths in the order of the table.
type openAPIDocument struct {
	OpenAPI    string                `json:"openapi"`
	Info       *openapi31.Info       `json:"info"`
	Servers    []openapi31.Server    `json:"servers"`
	Tags       []openapi31.Tag       `json:"tags"`
	Paths      jsontext.Value        `json:"paths"`
	Components *openapi31.Components `json:"components"`
}

// generateOpenAPI makes the OpenAPI document from the route table, the types of the requests and
// responses, and the table of errors.
func (s *Server) generateOpenAPI() ([]byte, error) {
	d := describer{reflector: newReflector(s.minPassword)}
	if err := d.addComponents(s.cookie.Name, s.pendingCookie.Name); err != nil {
		return nil, err
	}

	routes := s.documentedRoutes()
	for _, rt := range routes {
		if err := d.addOperation(rt); err != nil {
			return nil, fmt.Errorf("%s: %w", rt.pattern, err)
		}
	}
	d.addCodes(routes)

	spec := d.reflector.SpecEns()
	paths, err := orderedPaths(routes, spec.Paths)
	if err != nil {
		return nil, err
	}

	document, err := json.Marshal(openAPIDocument{
		OpenAPI:    spec.Openapi,
		Info:       (&openapi31.Info{}).WithTitle("Latchkey").WithDescription(apiDescription).WithVersion(buildinfo.Version()),
		Servers:    []openapi31.Server{{URL: "."}}, // relative to the document, so that it works behind a path prefix
		Tags:       tags,
		Paths:      paths,
		Components: spec.Components,
	}, json.Deterministic(true))

	return append(document, '\n'), err
}

// documentedRoutes returns the routes with a description. The providers share one pair of routes,
// so the document does not depend on which are configured.
func (s *Server) documentedRoutes() []route {
	var documented []route
	for _, rt := range append(s.fixedRoutes(), s.providerRoutes("{provider}")...) {
		if rt.operation.id != "" {
			documented = append(documented, rt)
		}
	}

	return documented
}

// describer collects the operations and their responses.
type describer struct {
	reflector *openapi31.Reflector
}

// addComponents adds what does not depend on the routes.
func (d describer) addComponents(cookieName, pendingCookieName string) error {
	components := d.reflector.SpecEns().ComponentsEns()

	cookie := (&openapi31.SecuritySchemeAPIKey{}).WithIn(openapi31.SecuritySchemeAPIKeyInCookie).WithName(cookieName)
	scheme := (&openapi31.SecurityScheme{APIKey: cookie}).
		WithDescription("The session cookie. Its name is `SESSION_NAME`, by default `__Host-sid`, or `__Secure-sid` with `COOKIE_DOMAIN`, or `sid` if the cookie is not Secure.")
	components.WithSecuritySchemesItem(sessionScheme, openapi31.SecuritySchemeOrReference{SecurityScheme: scheme})

	pendingCookie := (&openapi31.SecuritySchemeAPIKey{}).WithIn(openapi31.SecuritySchemeAPIKeyInCookie).WithName(pendingCookieName)
	pendingLogin := (&openapi31.SecurityScheme{APIKey: pendingCookie}).
		WithDescription("The cookie of a login that waits for a second factor. Its name is `__Host-mfa`, or `mfa` if it is not Secure.")
	components.WithSecuritySchemesItem(pendingScheme, openapi31.SecuritySchemeOrReference{SecurityScheme: pendingLogin})

	for _, h := range responseHeaders {
		components.WithHeadersItem(componentName(h.name), openapi31.HeaderOrReference{Header: h.describe()})
	}

	return d.addProblemSchema()
}

// addOperation describes a route.
func (d describer) addOperation(rt route) error {
	method, path, _ := strings.Cut(rt.pattern, " ")
	op := rt.operation

	oc, err := d.reflector.NewOperationContext(method, path)
	if err != nil {
		return err
	}
	oc.SetID(op.id)
	oc.SetTags(op.tag)
	oc.SetSummary(op.summary)
	if op.description != "" {
		oc.SetDescription(op.description)
	}
	switch {
	case rt.access == withPendingLogin:
		oc.AddSecurity(pendingScheme)
	case rt.access == withSession, slices.Contains(rt.errors, session.ErrNone):
		oc.AddSecurity(sessionScheme)
	}

	if op.params != nil {
		oc.AddReqStructure(op.params)
	}
	if err := addRequest(oc, rt); err != nil {
		return err
	}
	if err := addResponse(oc, rt); err != nil {
		return err
	}
	if op.redirect != "" {
		addRedirect(oc, op.redirect)
	}
	if err := d.addProblems(oc, rt); err != nil {
		return err
	}

	return d.reflector.AddOperation(oc)
}

// addRequest describes the body of a request.
func addRequest(oc openapi.OperationContext, rt route) error {
	if rt.endpoint.body != reflect.TypeOf(rt.operation.request) {
		return fmt.Errorf("the example of the request is a %T, the handler takes a %v", rt.operation.request, rt.endpoint.body)
	}
	if rt.endpoint.body == nil {
		return nil
	}

	example, err := encodedExample(rt.operation.request)
	if err != nil {
		return err
	}
	oc.AddReqStructure(rt.operation.request, openapi.WithContentType("application/json"), func(cu *openapi.ContentUnit) {
		cu.Customize = func(cor openapi.ContentOrReference) {
			body := cor.(*openapi31.RequestBodyOrReference).RequestBody
			body.WithRequired(true)
			body.Content["application/json"] = withExample(body.Content["application/json"], example)
		}
	})

	return nil
}

// addResponse describes the response to a successful request.
func addResponse(oc openapi.OperationContext, rt route) error {
	op := rt.operation
	names := op.headers
	if rt.limit != noLimit {
		names = append(slices.Clone(names), "RateLimit", "RateLimit-Policy")
	}

	example, err := encodedExample(op.body)
	if err != nil {
		return err
	}
	mediaType := cmp.Or(op.mediaType, "application/json")

	oc.AddRespStructure(op.body, openapi.WithHTTPStatus(op.status), openapi.WithContentType(mediaType), func(cu *openapi.ContentUnit) {
		cu.Description = op.result
		cu.Customize = func(cor openapi.ContentOrReference) {
			r := cor.(*openapi31.ResponseOrReference).Response
			r.Headers = referToHeaders(names)
			switch {
			case op.body != nil:
				r.Content[mediaType] = withExample(r.Content[mediaType], example)
			case op.mediaType == "":
				r.Content = nil
			case op.mediaType == "application/json":
				r.Content[mediaType] = openapi31.MediaType{Schema: map[string]any{"type": "object"}}
			}
		}
	})

	return nil
}

// addRedirect describes a redirect in addition to the response.
func addRedirect(oc openapi.OperationContext, result string) {
	oc.AddRespStructure(nil, openapi.WithHTTPStatus(http.StatusFound), func(cu *openapi.ContentUnit) {
		cu.Description = result
		cu.Customize = func(cor openapi.ContentOrReference) {
			r := cor.(*openapi31.ResponseOrReference).Response
			r.Headers = referToHeaders([]string{"Location"})
			r.Content = nil
		}
	})
}

func encodedExample(value any) (any, error) {
	if value == nil {
		return nil, nil
	}

	raw, err := json.Marshal(value)
	return jsontext.Value(raw), err
}

func withExample(m openapi31.MediaType, example any) openapi31.MediaType {
	m.Example = &example
	return m
}

// describe returns the header as a component of the document.
func (h responseHeader) describe() *openapi31.Header {
	schema := map[string]any{"type": "string"}
	if h.pattern != "" {
		schema["pattern"] = h.pattern
	}

	described := (&openapi31.Header{}).WithDescription(h.description).WithSchema(schema).WithExample(h.example)
	if h.required {
		described.WithRequired(true)
	}

	return described
}

// referToHeaders returns references to headers among the components.
func referToHeaders(names []string) map[string]openapi31.HeaderOrReference {
	if len(names) == 0 {
		return nil
	}

	headers := map[string]openapi31.HeaderOrReference{}
	for _, name := range names {
		headers[name] = openapi31.HeaderOrReference{
			Reference: &openapi31.Reference{Ref: "#/components/headers/" + componentName(name)},
		}
	}

	return headers
}

// componentName joins the words of a code or a header: "step_up_required" and
// "Retry-After" become StepUpRequired and RetryAfter.
func componentName(words string) string {
	name := ""
	for _, word := range strings.FieldsFunc(words, func(r rune) bool { return r == '_' || r == '-' || r == ' ' }) {
		name += strings.ToUpper(word[:1]) + word[1:]
	}

	return name
}

// orderedPaths encodes the paths in the order of the routes.
func orderedPaths(routes []route, paths *openapi31.Paths) (jsontext.Value, error) {
	var encoded jsontext.Value
	items := maps.Clone(paths.MapOfPathItemValues)

	encoded = append(encoded, '{')
	for _, rt := range routes {
		_, path, _ := strings.Cut(rt.pattern, " ")
		item, left := items[path]
		if !left {
			continue // described with another method of the same path
		}
		delete(items, path)

		value, err := json.Marshal(item, json.Deterministic(true))
		if err != nil {
			return nil, err
		}
		if len(encoded) > 1 {
			encoded = append(encoded, ',')
		}
		encoded, err = jsontext.AppendQuote(encoded, path)
		if err != nil {
			return nil, err
		}
		encoded = append(encoded, ':')
		encoded = append(encoded, value...)
	}

	return append(encoded, '}'), nil
}

var openAPIOperation = operation{
	id:      "openapi",
	tag:     tagOperations,
	summary: "Get this document",
	response: response{
		status:    http.StatusOK,
		result:    "OpenAPI 3.1",
		mediaType: "application/json",
	},
}

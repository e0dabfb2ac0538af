package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contractURL is what the OpenAPI document is called among JSON Schemas.
const contractURL = "https://api.example.com/openapi.json"

// contractDocument is the OpenAPI document, to find what an answer has to look like.
type contractDocument struct {
	routers.Router
	mu       sync.Mutex // the compiler keeps what it has compiled, and takes one at a time
	compiler *jsonschema.Compiler
}

var contract = sync.OnceValue(func() *contractDocument {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		panic(err)
	}
	if err := doc.Validate(context.Background(), openapi3.IsOpenAPI31OrLater()); err != nil {
		panic(err)
	}
	doc.Servers = nil
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
	if err != nil {
		panic(err)
	}
	// The schemas of OpenAPI 3.1 are JSON Schema as it is, so that the references in
	// them lead to where they are in the whole document.
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	if err := compiler.AddResource(contractURL, raw); err != nil {
		panic(err)
	}
	return &contractDocument{Router: router, compiler: compiler}
})

// schema returns the schema that is in the document at a JSON pointer.
func (d *contractDocument) schema(pointer string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.compiler.Compile(contractURL + "#" + pointer)
}

// pointerTo is a JSON pointer to a member of what another leads to.
func pointerTo(pointer string, names ...string) string {
	for _, name := range names {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(name)
	}
	return pointer
}

// matchesContract validates an answer against the OpenAPI document. Answers
// about addresses and methods that are not in it are failures of a known form.
func matchesContract(req *http.Request, a answer) error {
	if a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed ||
		a.status == http.StatusInternalServerError || req.Method == http.MethodHead || strings.HasPrefix(req.URL.Path, "/docs/") {
		return nil
	}
	route, _, err := contract().FindRoute(req)
	if err != nil {
		return err
	}
	status := strconv.Itoa(a.status)
	response := route.Operation.Responses.Value(status)
	if response == nil {
		return fmt.Errorf("the document has no answer %s", status)
	}
	pointer := pointerTo("/paths", route.Path, strings.ToLower(req.Method), "responses", status)
	if response.Ref != "" {
		pointer = strings.TrimPrefix(response.Ref, "#")
	}
	if err := contract().matchHeaders(pointer, response.Value.Headers, a.header); err != nil {
		return err
	}
	return contract().matchBody(pointer, response.Value.Content, a)
}

func (d *contractDocument) matchHeaders(pointer string, documented openapi3.Headers, got http.Header) error {
	for name, header := range documented {
		values := got.Values(name)
		if len(values) == 0 && header.Value.Required {
			return fmt.Errorf("%s is missing", name)
		}
		at := pointerTo(pointer, "headers", name)
		if header.Ref != "" {
			at = strings.TrimPrefix(header.Ref, "#")
		}
		schema, err := d.schema(pointerTo(at, "schema"))
		if err != nil {
			return err
		}
		for _, value := range values {
			if err := schema.Validate(value); err != nil {
				return fmt.Errorf("%s %q: %w", name, value, err)
			}
		}
	}
	return nil
}

func (d *contractDocument) matchBody(pointer string, documented openapi3.Content, a answer) error {
	if len(documented) == 0 {
		if len(a.raw) != 0 {
			return fmt.Errorf("the document has no body for it")
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || documented[kind] == nil {
		return fmt.Errorf("a body of type %q, the document has %v", a.header.Get("Content-Type"), slices.Sorted(maps.Keys(documented)))
	}
	schema, err := d.schema(pointerTo(pointer, "content", kind, "schema"))
	if err != nil {
		return err
	}
	var body any = string(a.raw)
	if strings.HasSuffix(kind, "json") {
		if body, err = jsonschema.UnmarshalJSON(bytes.NewReader(a.raw)); err != nil {
			return err
		}
	}
	return schema.Validate(body)
}

// The check itself sees what is not as it is documented.
func TestContractIsChecked(t *testing.T) {
	t.Parallel()
	const (
		in      = `{"authenticated":true}`
		problem = `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"x","code":"not_authenticated","message":"x","requestId":"1"}`
	)
	named := http.Header{"X-Auth-User-Id": {"1"}, "X-Auth-Email": {"a@example.com"}, "X-Auth-Session-Id": {"2"}}
	for _, tc := range []struct {
		name   string
		status int
		header http.Header
		kind   string
		body   string
		good   bool
	}{
		{"signed in", 200, named, "application/json; charset=utf-8", in, true},
		{"a stranger", 401, nil, "application/problem+json; charset=utf-8", problem, true},
		{"a header is missing", 200, nil, "application/json", in, false},
		{"another type", 200, named, "text/plain", in, false},
		{"another value", 200, named, "application/json", `{"authenticated":false}`, false},
		{"a member too many", 200, named, "application/json", `{"authenticated":true,"email":"a@example.com"}`, false},
		{"no body", 200, named, "application/json", "", false},
		{"a code that is not listed", 401, nil, "application/problem+json", strings.Replace(problem, "not_authenticated", "other", 1), false},
		{"a member too few", 401, nil, "application/problem+json", strings.Replace(problem, `,"requestId":"1"`, "", 1), false},
		{"a status that is not listed", 402, nil, "application/problem+json", problem, false},
		{"a header of another form", 503, http.Header{"Retry-After": {"soon"}}, "application/problem+json", strings.Replace(problem, "not_authenticated", "internal", 1), false},
	} {
		req, err := http.NewRequest(http.MethodGet, "/auth/verify", nil)
		if err != nil {
			t.Fatal(err)
		}
		a := answer{t: t, status: tc.status, header: http.Header{"Content-Type": {tc.kind}}, raw: []byte(tc.body)}
		maps.Copy(a.header, tc.header)
		if err := matchesContract(req, a); (err == nil) != tc.good {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

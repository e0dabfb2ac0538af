package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"latchkey/internal/httpapi"
	"latchkey/internal/oauth"
)

// contractURL identifies the OpenAPI document to the JSON Schema compiler.
const contractURL = "https://api.example.com/openapi.json"

// contractDocument is the OpenAPI document, prepared for comparing requests and responses
// with it.
type contractDocument struct {
	routers.Router

	mu        sync.Mutex // for the compilers, which cache schemas
	responses *jsonschema.Compiler
	// requests does not check formats: the server normalizes an email address before it
	// validates it, so it accepts more than the document promises.
	requests *jsonschema.Compiler
}

// must returns v, or panics if err is not nil. Such an error is the same in every test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}

	return v
}

// contract returns the document that the server serves.
var contract = sync.OnceValue(func() *contractDocument {
	text := servedDocument()
	doc := must(openapi3.NewLoader().LoadFromData(text))
	must(0, doc.Validate(context.Background(), openapi3.IsOpenAPI31OrLater()))
	doc.Servers = nil

	// A schema of OpenAPI 3.1 is a JSON Schema. Adding the whole document as a resource
	// makes the references between its schemas work.
	newCompiler := func() *jsonschema.Compiler {
		compiler := jsonschema.NewCompiler()
		compiler.DefaultDraft(jsonschema.Draft2020)
		must(0, compiler.AddResource(contractURL, must(jsonschema.UnmarshalJSON(bytes.NewReader(text)))))

		return compiler
	}

	d := &contractDocument{
		Router:    must(gorillamux.NewRouter(doc)),
		requests:  newCompiler(),
		responses: newCompiler(),
	}
	d.responses.AssertFormat()

	return d
})

// servedDocument returns the OpenAPI document as a server without stores serves it.
func servedDocument() []byte {
	api := must(httpapi.New(nil, nil, nil, httpapi.Options{
		Cookie:    httpapi.Cookie{Name: "sid"},
		Providers: oauth.New(nil, nil, nil, oauth.Options{}),
		Log:       slog.New(slog.DiscardHandler),
		Now:       time.Now,
	}))

	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))

	return w.Body.Bytes()
}

// validate validates a value against the schema at a JSON pointer in the document.
func (d *contractDocument) validate(compiler *jsonschema.Compiler, pointer string, value any) error {
	d.mu.Lock()
	schema, err := compiler.Compile(contractURL + "#" + pointer)
	d.mu.Unlock()
	if err != nil {
		return err
	}

	return schema.Validate(value)
}

// pointerTo appends names to a JSON pointer.
func pointerTo(pointer string, names ...string) string {
	for _, name := range names {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(name)
	}

	return pointer
}

// checkContract compares a request and its response with the OpenAPI document. Responses
// to unknown paths and methods are not in the document.
func checkContract(req *http.Request, a Response) error {
	undocumented := []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusInternalServerError}
	if slices.Contains(undocumented, a.Status) || req.Method == http.MethodHead || strings.HasPrefix(req.URL.Path, "/docs/") {
		return nil
	}

	route, _, err := contract().FindRoute(req)
	if err != nil {
		return err
	}

	if err := contract().matchRequest(route, req, a); err != nil {
		return err
	}

	status := strconv.Itoa(a.Status)
	response := route.Operation.Responses.Value(status)
	if response == nil {
		return fmt.Errorf("the document has no response %s", status)
	}

	pointer := pointerTo(operationPointer(route), "responses", status)
	if response.Ref != "" {
		pointer = strings.TrimPrefix(response.Ref, "#")
	}

	if err := contract().matchHeaders(pointer, response.Value.Headers, a.Header); err != nil {
		return err
	}

	return contract().matchBody(pointer, response.Value.Content, a)
}

func operationPointer(route *routers.Route) string {
	return pointerTo("/paths", route.Path, strings.ToLower(route.Method))
}

// fieldRule matches the codes of rules that the request schemas in the document also contain.
var fieldRule = regexp.MustCompile(`"code":"(unknown|wrong_type|required|too_short|too_long)"`)

// matchRequest compares a request with the document. A request that the server accepted must
// match, and one that it rejected by a rule of the schema must not.
func (d *contractDocument) matchRequest(route *routers.Route, req *http.Request, a Response) error {
	rejected := a.Status == http.StatusBadRequest && fieldRule.Match(a.Raw)
	if a.Status >= http.StatusBadRequest && !rejected {
		return nil
	}

	err := d.matchRequestBody(route, req)
	switch {
	case rejected && err == nil:
		return fmt.Errorf("the server rejects a body that matches the document: %s", a.Raw)
	case rejected:
		return nil
	case err != nil:
		return fmt.Errorf("the server accepts a body that does not match the document: %w", err)
	}

	return d.matchParameters(route, req)
}

func (d *contractDocument) matchRequestBody(route *routers.Route, req *http.Request) error {
	var raw []byte
	if req.GetBody != nil {
		raw, _ = io.ReadAll(must(req.GetBody()))
	}

	if route.Operation.RequestBody == nil {
		var members map[string]any
		if len(raw) > 0 && (json.Unmarshal(raw, &members) != nil || len(members) > 0) {
			return errors.New("the operation takes no body")
		}

		return nil
	}

	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}

	if members, ok := body.(map[string]any); ok {
		maps.DeleteFunc(members, func(_ string, value any) bool { return value == nil }) // like absent ones
	}

	return d.validate(d.requests, pointerTo(operationPointer(route), "requestBody", "content", "application/json", "schema"), body)
}

func (d *contractDocument) matchParameters(route *routers.Route, req *http.Request) error {
	query := req.URL.Query()
	for i, parameter := range route.Operation.Parameters {
		if parameter.Value.In != "query" || !query.Has(parameter.Value.Name) {
			continue
		}

		schema := pointerTo(operationPointer(route), "parameters", strconv.Itoa(i), "schema")
		if err := d.validate(d.requests, schema, query.Get(parameter.Value.Name)); err != nil {
			return fmt.Errorf("parameter %s: %w", parameter.Value.Name, err)
		}
	}

	return nil
}

func (d *contractDocument) matchHeaders(pointer string, documented openapi3.Headers, got http.Header) error {
	for name, header := range documented {
		values := got.Values(name)
		if len(values) == 0 && header.Value.Required {
			return fmt.Errorf("%s is missing", name)
		}

		headerPointer := pointerTo(pointer, "headers", name)
		if header.Ref != "" {
			headerPointer = strings.TrimPrefix(header.Ref, "#")
		}

		for _, value := range values {
			if err := d.validate(d.responses, pointerTo(headerPointer, "schema"), value); err != nil {
				return fmt.Errorf("%s %q: %w", name, value, err)
			}
		}
	}
	return nil
}

func (d *contractDocument) matchBody(pointer string, documented openapi3.Content, a Response) error {
	if len(documented) == 0 {
		if len(a.Raw) != 0 {
			return fmt.Errorf("got a body of %d bytes, but the document has none for this response", len(a.Raw))
		}
		return nil
	}

	kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil || documented[kind] == nil {
		return fmt.Errorf("Content-Type: got %q, want one of %v", a.Header.Get("Content-Type"), slices.Sorted(maps.Keys(documented)))
	}

	var body any = string(a.Raw)
	if strings.HasSuffix(kind, "json") {
		body, err = jsonschema.UnmarshalJSON(bytes.NewReader(a.Raw))
		if err != nil {
			return err
		}
	}

	return d.validate(d.responses, pointerTo(pointer, "content", kind, "schema"), body)
}

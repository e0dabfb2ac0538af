package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"latchkey/internal/testkit"
)

// rawOpenAPI returns the document as it is, without a library in between.
func rawOpenAPI(t *testing.T) map[string]any {
	t.Helper()

	var document map[string]any
	testkit.NoError(t, json.Unmarshal(OpenAPI(), &document))

	return document
}

// walk calls visit with every object in a JSON value and its path.
func walk(value any, path string, visit func(path string, object map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(path, value)

		for name, member := range value {
			walk(member, path+"/"+name, visit)
		}
	case []any:
		for i, item := range value {
			walk(item, path+"/"+strconv.Itoa(i), visit)
		}
	}
}

// Servers behind a load balancer must serve the same document, or clients could not cache it.
func TestOpenAPIIsDeterministic(t *testing.T) {
	t.Parallel()

	again, err := apiWithoutStores().generateOpenAPI()
	testkit.NoError(t, err)
	if !bytes.Equal(again, OpenAPI()) {
		t.Error("got a different document the second time")
	}
}

// Generators of clients turn an enum without a type into interface{}, and a member with a
// default into a required one (openapi-ts/openapi-typescript#1957).
func TestOpenAPISuitsGenerators(t *testing.T) {
	t.Parallel()

	document := rawOpenAPI(t)

	walk(document, "", func(path string, object map[string]any) {
		if strings.Contains(path, "/example") || strings.HasSuffix(path, "/properties") {
			return
		}

		_, isEnum := object["enum"]
		_, isConst := object["const"]
		if _, typed := object["type"].(string); (isEnum || isConst) && !typed {
			t.Errorf("%s: got an enum or const without a type: %v", path, object)
		}

		if value, given := object["default"]; given {
			t.Errorf("%s: got the default %v, want it in the description", path, value)
		}
	})

	if url := document["servers"].([]any)[0].(map[string]any)["url"].(string); strings.HasPrefix(url, "/") || strings.Contains(url, ":") {
		t.Errorf("got server %q, want a relative URL, for a proxy that adds a path prefix", url)
	}
}

// Generators of clients make one namespace of these names, some without regard to case.
func TestOpenAPINamesDiffer(t *testing.T) {
	t.Parallel()

	document := rawOpenAPI(t)
	seen := map[string]string{}
	add := func(name, what string) {
		if other, taken := seen[strings.ToLower(name)]; taken {
			t.Errorf("%s and %s have the same name", what, other)
		}

		seen[strings.ToLower(name)] = what
	}

	components := document["components"].(map[string]any)
	for _, kind := range []string{"schemas", "responses", "headers", "securitySchemes"} {
		for name := range components[kind].(map[string]any) {
			add(name, kind+" "+name)
		}
	}

	walk(document["paths"], "", func(path string, object map[string]any) {
		if id, given := object["operationId"].(string); given {
			add(id, "operation "+id)
			add(id+"Response", "the response type of operation "+id) // by oapi-codegen
		}
	})
}

// openAPIURL identifies the document for the compiler of JSON Schemas.
const openAPIURL = "https://api.example.com/openapi.json"

// compileOpenAPI returns a compiler of the schemas in the document.
func compileOpenAPI(t *testing.T) *jsonschema.Compiler {
	t.Helper()

	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(OpenAPI()))
	testkit.NoError(t, err)

	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	testkit.NoError(t, compiler.AddResource(openAPIURL, document))

	return compiler
}

// pointer returns a JSON pointer in the form of a URL fragment.
func pointer(names ...string) string {
	path := ""
	for _, name := range names {
		path += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(name)
	}

	return path
}

// Each response has an example of its own that matches its schema.
func TestOpenAPIExamples(t *testing.T) {
	t.Parallel()

	schemas := compileOpenAPI(t)

	for name, op := range documentedOperations(t) {
		method, path, _ := strings.Cut(name, " ")
		operation := pointer("paths", path, strings.ToLower(method))
		if op.RequestBody != nil {
			at := operation + pointer("requestBody", "content", "application/json", "schema")
			checkExample(t, schemas, name+" request", at, op.RequestBody.Value.Content["application/json"].Example)
		}

		for status, response := range op.Responses.Map() {
			of := operation + pointer("responses", status)
			if response.Ref != "" {
				of = strings.TrimPrefix(response.Ref, "#")
			}

			for mediaType, media := range response.Value.Content {
				at := of + pointer("content", mediaType, "schema")
				switch {
				case status >= "400":
					checkProblemExamples(t, schemas, name+" "+status, at, status, media)
				case media.Schema.Ref != "":
					checkExample(t, schemas, name+" "+status, at, media.Example)
				}
			}
		}
	}
}

// checkProblemExamples checks that there is one example for each code.
func checkProblemExamples(t *testing.T, schemas *jsonschema.Compiler, name, at, status string, media *openapi3.MediaType) {
	t.Helper()

	for code, example := range media.Examples {
		checkExample(t, schemas, name+" "+code, at, example.Value.Value)
		problem := example.Value.Value.(map[string]any)
		if got := fmt.Sprint(problem["status"]); got != status || problem["code"] != code {
			t.Errorf("%s: got an example with status %s and code %v", name, got, problem["code"])
		}

		if number, _ := strconv.Atoi(status); problem["title"] != http.StatusText(number) {
			t.Errorf("%s: got title %q", name, problem["title"])
		}
	}

	codes := media.Schema.Value.AllOf[1].Value.Properties["code"].Value.Enum
	for _, code := range codes {
		if media.Examples[code.(string)] == nil {
			t.Errorf("%s: got no example of %s", name, code)
		}
	}
}

func checkExample(t *testing.T, schemas *jsonschema.Compiler, name, schemaPointer string, example any) {
	t.Helper()

	schema, err := schemas.Compile(openAPIURL + "#" + schemaPointer)
	testkit.NoError(t, err)
	raw, err := json.Marshal(example)
	testkit.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	testkit.NoError(t, err)
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s: the example %s does not match: %v", name, raw, err)
	}
}

package httpapi

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/swaggest/jsonschema-go"
	"github.com/swaggest/openapi-go"
	"github.com/swaggest/openapi-go/openapi31"

	"latchkey/internal/auth"
	"latchkey/internal/session"
)

// Failures whose details depend on the request, with example details.
var (
	errInvalidField = invalidFields(fieldError{"email", "invalid_email", "Enter a valid email address."})
	errWeakPassword = &auth.WeakPasswordError{Why: auth.Common}
	errStoresDown   = storesDown(storeStates{Redis: storeUnavailable, MongoDB: storeOK})
)

// addProblemSchema adds the schema of all problems.
func (d describer) addProblemSchema() error {
	schema, err := d.reflector.Reflect(problem{}, jsonschema.DefinitionsPrefix(schemaPrefix), jsonschema.CollectDefinitions(d.addSchema))
	if err != nil {
		return err
	}

	d.addSchema(problemSchema, schema)
	return nil
}

func (d describer) addSchema(name string, schema jsonschema.Schema) {
	simple, err := schema.ToSchemaOrBool().ToSimpleMap()
	if err != nil {
		panic(err) // only a bug in jsonschema gets here
	}
	d.reflector.SpecEns().ComponentsEns().WithSchemasItem(name, simple)
}

// addProblems describes the failures of a route, one response for each status.
func (d describer) addProblems(oc openapi.OperationContext, rt route) error {
	own := map[int][]*failure{}
	all := map[int][]*failure{}

	for _, err := range rt.errors {
		f := failureOf(err)
		if f == errInternal && !errors.Is(err, errInternal) {
			return fmt.Errorf("%w has no row in failures", err)
		}

		isShared := errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrUnavailable) // by most routes
		if !isShared {
			addFailure(own, f)
		}
		addFailure(all, f)
	}
	for _, err := range rt.sharedErrors() {
		addFailure(all, failureOf(err))
	}

	responses := oc.(openapi31.OperationExposer).Operation().ResponsesEns()
	for _, status := range slices.Sorted(maps.Keys(all)) {
		name, err := d.addProblemResponse(status, own[status], all[status], rt)
		if err != nil {
			return err
		}

		responses.WithMapOfResponseOrReferenceValuesItem(strconv.Itoa(status), openapi31.ResponseOrReference{
			Reference: &openapi31.Reference{Ref: "#/components/responses/" + name},
		})
	}

	return nil
}

// addFailure adds a failure by its status, unless there is one with the same code.
func addFailure(byStatus map[int][]*failure, f *failure) {
	sameCode := func(other *failure) bool { return other.code == f.code }
	if !slices.ContainsFunc(byStatus[f.status], sameCode) {
		byStatus[f.status] = append(byStatus[f.status], f)
	}
}

// addProblemResponse describes the failures with a status, and returns the name of the response.
// Routes with the same failures share a response. The parameter own are the failures that are
// specific to the route, by which the response is named.
func (d describer) addProblemResponse(status int, own, all []*failure, rt route) (name string, err error) {
	_, path, _ := strings.Cut(rt.pattern, " ")
	headers := problemHeaders(status)
	examples := map[string]openapi31.ExampleOrReference{}
	var explanations []string

	for _, f := range all {
		example := newProblem(f, exampleRequestID)
		if f == failureOf(session.ErrNone) {
			headers = append(headers, "Set-Cookie")
			example.Reason = session.IdleTimeout
			example.Authenticated = authenticatedMember(path)
		}

		value, err := encodedExample(example)
		if err != nil {
			return "", err
		}
		examples[f.code] = openapi31.ExampleOrReference{Example: (&openapi31.Example{}).WithValue(value)}
		explanations = append(explanations, fmt.Sprintf("`%s`: %s", f.code, f.explanation()))
	}

	response := &openapi31.Response{
		Description: strings.Join(explanations, "\n\n"),
		Headers:     referToHeaders(headers),
		Content:     map[string]openapi31.MediaType{problemType: {Examples: examples}},
	}

	return d.addResponseComponent(problemName(status, own, all, path), rt.operation.id, response, narrowedProblem(status, all, path))
}

// narrowedProblem returns the schema of the problems with a status: the general schema, limited
// to the codes of a route. Clients can then handle exactly these codes.
func narrowedProblem(status int, failures []*failure, path string) map[string]any {
	codes := make([]string, len(failures))
	allHaveFields := true
	for i, f := range failures {
		codes[i] = f.code
		allHaveFields = allHaveFields && f.fields != nil
	}

	members := map[string]any{
		"status": map[string]any{"type": "integer", "enum": []int{status}},
		"code":   map[string]any{"type": "string", "enum": codes},
	}
	required := []string{"status", "code"}

	if allHaveFields {
		required = append(required, "errors")
	}
	if status == http.StatusUnauthorized && authenticatedMember(path) != nil {
		members["authenticated"] = map[string]any{"type": "boolean", "enum": []bool{false}}
		required = append(required, "authenticated")
	}

	return map[string]any{
		"allOf": []any{
			map[string]any{"$ref": schemaPrefix + problemSchema},
			map[string]any{"type": "object", "properties": members, "required": required},
		},
	}
}

// addResponseComponent adds a response and the schema of its body, unless an equal one exists, and
// returns its name. If a different response has the name, the new one is also named after its
// operation: "not_found" can be about a session or about a provider.
func (d describer) addResponseComponent(name, operationID string, response *openapi31.Response, schema map[string]any) (string, error) {
	components := d.reflector.SpecEns().ComponentsEns()
	for _, name := range []string{name, componentName(operationID) + name} {
		schemaName := name + problemSchema
		response.Content[problemType] = openapi31.MediaType{
			Schema:   map[string]any{"$ref": schemaPrefix + schemaName},
			Examples: response.Content[problemType].Examples,
		}

		other, taken := components.Responses[name]
		if taken && !reflect.DeepEqual(other.Response, response) {
			continue
		}

		components.WithResponsesItem(name, openapi31.ResponseOrReference{Response: response})
		components.WithSchemasItem(schemaName, schema)

		return name, nil
	}

	return "", fmt.Errorf("%s describes different responses", name)
}

// problemName returns the name of a response to failures, such as "BadRequest",
// "WeakPassword" or "InvalidTokenOrWeakPassword".
func problemName(status int, own, all []*failure, path string) string {
	if len(all) == 1 && all[0] == errSlowBody {
		return componentName(errSlowBody.code)
	}
	if status == http.StatusUnauthorized && authenticatedMember(path) != nil {
		return "SessionUnauthorized"
	}
	if len(own) == 0 && slices.Contains(all, errEmailNotVerified) {
		own = all
	}
	if len(own) == 0 {
		return componentName(http.StatusText(status))
	}

	names := make([]string, len(own))
	for i, f := range own {
		names[i] = componentName(f.code)
	}

	return strings.Join(names, "Or")
}

// problemHeaders returns the headers of every failure with a status.
func problemHeaders(status int) []string {
	switch status {
	case http.StatusTooManyRequests:
		return []string{"Retry-After", "RateLimit", "RateLimit-Policy"}
	case http.StatusServiceUnavailable:
		return []string{"Retry-After"}
	}

	return nil
}

// redirectCodes returns the codes with which the routes redirect a browser to a page.
func redirectCodes(routes []route) []string {
	var codes []string
	for _, rt := range routes {
		for _, err := range rt.redirected {
			codes = append(codes, failureOf(err).code)
		}
	}
	slices.Sort(codes)

	return slices.Compact(codes)
}

// problemCodes returns the codes of all failures.
func problemCodes(routes []route) []string {
	codes := []string{errNoRoute.code, errMethodNotAllowed.code, errInternal.code}
	for _, row := range failures {
		codes = append(codes, row.code)
	}
	for _, rt := range routes {
		for _, err := range slices.Concat(rt.errors, rt.sharedErrors(), rt.redirected) {
			codes = append(codes, failureOf(err).code)
		}
	}
	slices.Sort(codes)

	return slices.Compact(codes)
}

// addCodes lists the codes of all problems, and the codes of redirects in a schema of their own.
func (d describer) addCodes(routes []route) {
	components := d.reflector.SpecEns().ComponentsEns()

	members := components.Schemas[problemSchema]["properties"].(map[string]any)
	members["code"].(map[string]any)["enum"] = problemCodes(routes)

	components.WithSchemasItem(redirectSchema, map[string]any{
		"type":        "string",
		"enum":        redirectCodes(routes),
		"description": "The `error` parameter with which a browser returns to a page.",
	})
}

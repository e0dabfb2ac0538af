package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"latchkey/internal/httpapi"
)

// document is the OpenAPI document, as far as the client needs it.
type document struct {
	Paths      paths
	Components struct {
		Schemas   map[string]schema
		Responses map[string]response
	}
}

// paths are the paths in the order of the document, which is that of the route table.
type paths []path

type path struct {
	pattern string
	methods map[string]operation
}

type operation struct {
	ID          string `json:"operationId"`
	Summary     string
	Description string
	Parameters  []parameter
	RequestBody *struct{ Content map[string]media }
	Responses   map[string]response
}

type parameter struct {
	Name, In, Description string
	Required              bool
	Schema                schema
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]media
}

type media struct{ Schema schema }

// schema is a JSON schema, without the rules that types cannot express.
type schema struct {
	Ref         string `json:"$ref"`
	Type        string
	Description string
	Const       json.RawMessage
	Enum        []json.RawMessage
	Properties  map[string]schema
	Required    []string
	Items       *schema
	AllOf       []schema
}

// readDocument returns the document that the API serves.
func readDocument() (*document, error) {
	api, err := httpapi.New(nil, nil, nil, httpapi.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}

	served := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/openapi.json", nil)
	api.ServeHTTP(served, request)
	if served.Code != http.StatusOK {
		return nil, fmt.Errorf("GET /openapi.json: status %d", served.Code)
	}

	var doc document
	err = json.Unmarshal(served.Body.Bytes(), &doc)

	return &doc, err
}

// UnmarshalJSON implements json.Unmarshaler. A map would lose the order.
func (p *paths) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if _, err := decoder.Token(); err != nil { // the opening brace
		return err
	}

	for decoder.More() {
		pattern, err := decoder.Token()
		if err != nil {
			return err
		}

		item := path{pattern: pattern.(string)}
		if err := decoder.Decode(&item.methods); err != nil {
			return err
		}
		*p = append(*p, item)
	}

	return nil
}

const (
	schemaPrefix   = "#/components/schemas/"
	responsePrefix = "#/components/responses/"
)

// schemaNamed returns a schema of the components.
func (d *document) schemaNamed(name string) (schema, error) {
	s, known := d.Components.Schemas[name]
	if !known {
		return s, fmt.Errorf("the document has no schema %q", name)
	}

	return s, nil
}

// codes returns the codes of the failures with which an operation can end.
func (d *document) codes(op operation) ([]string, error) {
	var all []string
	for status, r := range op.Responses {
		if status < "400" {
			continue
		}

		r = d.Components.Responses[strings.TrimPrefix(r.Ref, responsePrefix)]
		name := strings.TrimPrefix(r.Content["application/problem+json"].Schema.Ref, schemaPrefix)
		problem, err := d.schemaNamed(name)
		if err != nil {
			return nil, fmt.Errorf("status %s: %w", status, err)
		}

		for _, part := range problem.AllOf {
			for _, code := range part.Properties["code"].Enum {
				all = append(all, strings.Trim(string(code), `"`))
			}
		}
	}

	return all, nil
}

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// omitted lists the operations that have no method, because no page has a use for them.
var omitted = []string{
	"finishSignIn", // the provider redirects the browser to it
	"verify",       // for proxies and backends: the result is in headers
	"docs", "openapi", "postman", "clientScript", "clientTypes",
}

// client is what the templates show.
type client struct {
	Operations []method
	// Navigations are the operations that redirect. The browser has to navigate to them, so their
	// methods return a URL.
	Navigations []method
	// CommonCodes are the codes with which every operation can fail.
	CommonCodes []string
	Types       []namedType
}

// method is the method of an operation.
type method struct {
	Name    string
	Route   string // as in client.js.tmpl
	Comment string
	Args    string // the type of the arguments, or "" if there are none

	ArgsOptional bool     // whether all arguments may be left out
	Options      string   // the type of the options
	Result       string   // the type of the result
	Codes        []string // besides client.CommonCodes
}

// httpMethods are the methods of a path, in the order of the client.
var httpMethods = []string{"get", "post", "put", "patch", "delete"}

// newClient returns the client of the API.
func newClient(doc *document) (*client, error) {
	c := &client{}
	types := &typeWriter{doc: doc, written: map[string]bool{}}

	for _, p := range doc.Paths {
		for _, httpMethod := range httpMethods {
			op, exists := p.methods[httpMethod]
			if !exists || slices.Contains(omitted, op.ID) {
				continue
			}

			m, err := newMethod(types, p.pattern, httpMethod, op)
			if err != nil {
				return nil, fmt.Errorf("operation %s: %w", op.ID, err)
			}
			if _, redirects := op.Responses["302"]; redirects {
				c.Navigations = append(c.Navigations, m)
			} else {
				c.Operations = append(c.Operations, m)
			}
		}
	}

	// The members of every error, and the error parameter of a page to which a provider returns.
	for _, name := range []string{"FieldError", "SessionEndReason", "SignInError"} {
		if _, err := types.named(name); err != nil {
			return nil, err
		}
	}
	c.Types = types.types
	c.splitCodes()

	return c, nil
}

// splitCodes moves the codes that all operations have in common to CommonCodes.
func (c *client) splitCodes() {
	counts := map[string]int{}
	for _, m := range c.Operations {
		for _, code := range m.Codes {
			counts[code]++
		}
	}

	isCommon := func(code string) bool { return counts[code] == len(c.Operations) }
	for i, m := range c.Operations {
		c.Operations[i].Codes = slices.DeleteFunc(slices.Clone(m.Codes), isCommon)
	}
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		if isCommon(code) {
			c.CommonCodes = append(c.CommonCodes, code)
		}
	}
}

func newMethod(types *typeWriter, pattern, httpMethod string, op operation) (method, error) {
	m := method{
		Name:    op.ID,
		Route:   strings.ToUpper(httpMethod) + " " + pattern,
		Comment: op.Summary + ".",
		Options: "RequestOptions",
	}
	if op.Description != "" {
		m.Comment += "\n\n" + op.Description
	}
	if httpMethod == "get" {
		m.Options = "ReadOptions"
	}

	separator := "?"
	for _, p := range op.Parameters {
		if p.In == "query" {
			m.Route += separator + p.Name
			separator = "&"
		}
	}
	if op.RequestBody != nil {
		m.Route += " {}"
	}

	var err error
	if m.Args, m.ArgsOptional, err = types.arguments(op); err != nil {
		return m, err
	}
	if m.Result, err = types.result(op); err != nil {
		return m, err
	}
	codes, err := types.doc.codes(op)
	slices.Sort(codes)
	m.Codes = slices.Compact(codes)

	return m, err
}

package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// namedType is a TypeScript type with a name.
type namedType struct {
	Name    string
	Extends string   // another named type, or ""
	Members []member // of an interface
	Alias   string   // the type itself, if it is not an interface
}

type member struct {
	Name     string
	Comment  string
	Type     string
	Optional bool
}

// typeWriter collects the types that operations use, each once.
type typeWriter struct {
	doc     *document
	types   []namedType
	written map[string]bool
}

// arguments returns the type of the arguments of an operation, which are its parameters and the
// members of its body. It returns "" if there are none.
func (w *typeWriter) arguments(op operation) (name string, optional bool, err error) {
	body := ""
	optional = true
	if op.RequestBody != nil {
		ref := op.RequestBody.Content["application/json"].Schema
		if body, err = w.typeOf(ref); err != nil {
			return "", false, err
		}
		optional = len(w.doc.Components.Schemas[body].Required) == 0
	}
	if len(op.Parameters) == 0 {
		return body, optional, w.checkNames(body, nil)
	}

	t := namedType{Name: strings.ToUpper(op.ID[:1]) + op.ID[1:] + "Args", Extends: body}
	for _, p := range op.Parameters {
		m := member{Name: p.Name, Comment: cmp.Or(p.Description, p.Schema.Description), Optional: !p.Required}
		if m.Type, err = w.typeOf(p.Schema); err != nil {
			return "", false, err
		}
		t.Members = append(t.Members, m)
		optional = optional && m.Optional
	}
	slices.SortStableFunc(t.Members, requiredFirst)
	w.types = append(w.types, t)

	return t.Name, optional, w.checkNames(body, op.Parameters)
}

func requiredFirst(a, b member) int {
	switch {
	case a.Optional == b.Optional:
		return 0
	case a.Optional:
		return 1
	}

	return -1
}

// optionNames are the names of the options in client.d.ts.tmpl.
var optionNames = []string{"signal", "background"}

// checkNames returns an error if two arguments have the same name: one object has the parameters,
// the members of the body, and the options.
func (w *typeWriter) checkNames(body string, parameters []parameter) error {
	names := slices.Concat(optionNames, slices.Collect(maps.Keys(w.doc.Components.Schemas[body].Properties)))
	for _, p := range parameters {
		names = append(names, p.Name)
	}

	slices.Sort(names)
	if distinct := slices.Compact(slices.Clone(names)); len(distinct) < len(names) {
		return fmt.Errorf("some arguments have the same name: %q", names)
	}

	return nil
}

// result returns the type of the result of an operation.
func (w *typeWriter) result(op operation) (string, error) {
	for status, r := range op.Responses {
		content, isJSON := r.Content["application/json"]
		switch {
		case status == "302":
			return "string", nil
		case status == "204":
			return "void", nil
		case status < "300" && isJSON:
			return w.typeOf(content.Schema)
		}
	}

	return "", fmt.Errorf("it has no JSON response; does it belong in omitted?")
}

// typeOf returns the TypeScript type of a schema.
func (w *typeWriter) typeOf(s schema) (string, error) {
	switch {
	case s.Ref != "":
		return w.named(strings.TrimPrefix(s.Ref, schemaPrefix))
	case len(s.Enum) > 0:
		literals := make([]string, len(s.Enum))
		for i, value := range s.Enum {
			literals[i] = literal(value)
		}

		return strings.Join(literals, " | "), nil
	case s.Const != nil:
		return literal(s.Const), nil
	case s.Type == "string" || s.Type == "number" || s.Type == "boolean":
		return s.Type, nil
	case s.Type == "integer":
		return "number", nil
	case s.Type == "array" && s.Items != nil:
		item, err := w.typeOf(*s.Items)
		if strings.Contains(item, "|") {
			item = "(" + item + ")"
		}

		return item + "[]", err
	}

	return "", fmt.Errorf("cannot express the schema as a type: %+v", s)
}

// literal returns a value in JSON as a TypeScript literal.
func literal(value []byte) string { return strings.ReplaceAll(string(value), `"`, "'") }

// named returns the name of a schema of the components, and writes its type.
func (w *typeWriter) named(name string) (string, error) {
	if w.written[name] {
		return name, nil
	}
	w.written[name] = true

	s, err := w.doc.schemaNamed(name)
	if err != nil {
		return "", err
	}

	t := namedType{Name: name}
	if s.Type != "object" {
		t.Alias, err = w.typeOf(s)
		w.types = append(w.types, t)

		return name, err
	}

	// Required members first, in the order of the Go type.
	optional := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Properties)), func(name string) bool {
		return slices.Contains(s.Required, name)
	})
	for _, property := range slices.Concat(s.Required, optional) {
		m := member{
			Name:     property,
			Comment:  s.Properties[property].Description,
			Optional: slices.Contains(optional, property),
		}
		if m.Type, err = w.typeOf(s.Properties[property]); err != nil {
			return "", fmt.Errorf("%s.%s: %w", name, property, err)
		}
		t.Members = append(t.Members, m)
	}
	w.types = append(w.types, t)

	return name, nil
}

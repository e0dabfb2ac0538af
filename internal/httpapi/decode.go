package httpapi

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/go-playground/validator/v10"
)

// decode reads a T from the body of a request, which must be a single JSON object in valid
// UTF-8 without unknown or repeated members. Then it checks the rules in the tags of T, which
// also makes emails and names canonical.
//
// encoding/json would be too lenient: it matches names in any case, lets the last of two
// members win, ignores trailing data, and replaces invalid UTF-8 by U+FFFD, which makes
// different passwords equal.
func decode[T any](rules *validator.Validate, r *http.Request, body []byte) (T, error) {
	var in T

	if len(body) == 0 {
		return in, invalidJSON("The request body is empty. Send a JSON object.")
	}
	if err := unmarshal(r, body, &in); err != nil {
		return in, err
	}

	return in, check(rules, &in)
}

func unmarshal(r *http.Request, body []byte, into any) error {
	if !isJSON(r.Header) {
		return errNotJSON
	}

	// The decoder would accept null as an empty object.
	if jsontext.Value(body).Kind() != '{' {
		return invalidJSON("The request body must be a JSON object.")
	}

	return decodeFailure(json.Unmarshal(body, into, json.RejectUnknownMembers(true)))
}

// isJSON reports whether the body is JSON in UTF-8, without a content encoding. This also
// keeps out HTML forms: a page on another origin cannot send this type without a preflight
// (OWASP ASVS 5.0 3.5.2).
func isJSON(h http.Header) bool {
	if len(h.Values("Content-Type")) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}

	mediaType, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return false
	}

	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}

// decodeFailure describes what is wrong with a body. The only parts of the body that it quotes
// are member names.
func decodeFailure(err error) error {
	if err == nil {
		return nil
	}

	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			field := fieldOf(syntax.JSONPointer)
			return invalidFields(fieldError{field, "duplicate", fmt.Sprintf("The field %q appears twice.", field)})
		}
		return errInvalidJSON
	}

	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		field := fieldOf(semantic.JSONPointer)
		if errors.Is(err, json.ErrUnknownName) {
			return invalidFields(fieldError{field, "unknown", fmt.Sprintf("The field %q is unknown.", field)})
		}
		return invalidFields(fieldError{field, "wrong_type", labelOf(field) + " has the wrong type."})
	}

	return invalidJSON("The request body cannot be read.")
}

// fieldOf returns the name of the member at a pointer. The client chose it, so it is cut to a
// reasonable length.
func fieldOf(pointer jsontext.Pointer) string {
	name := pointer.LastToken()
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "")
	}

	return name
}

var errInvalidJSON = invalidJSON("The request body is not valid JSON in UTF-8.")

func invalidJSON(detail string) *failure {
	return &failure{
		status: http.StatusBadRequest,
		code:   "invalid_json",
		detail: detail,
		fields: []fieldError{{"", "invalid_json", detail}},
	}
}

func invalidFields(fields ...fieldError) *failure {
	return &failure{
		status:      http.StatusBadRequest,
		code:        "validation_failed",
		detail:      fields[0].Message,
		description: "The `errors` list what is wrong with the request.",
		fields:      fields,
	}
}

package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxBody is the largest body in bytes.
const maxBody = 64 << 10

// decode reads a T from a request: one JSON object, valid UTF-8, no unknown and
// no repeated member in any letter case, nothing behind it; then the rules of
// its tags.
//
// encoding/json would match names in any case, let the last of two win, ignore
// what follows, and turn invalid UTF-8 into U+FFFD, so that different passwords
// become one. This decoder compares names exactly, so another case is an unknown
// member.
func decode[T any](w http.ResponseWriter, r *http.Request) (T, error) {
	var in T
	body, err := readBody(w, r)
	if err != nil {
		return in, err
	}
	if len(body) == 0 {
		return in, invalidJSON("The body is empty; send a JSON object")
	}
	if err := unmarshal(r, body, &in); err != nil {
		return in, err
	}
	return in, check(in)
}

// noBody makes sure that a request has no body, or an empty object.
func noBody(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	body, err := readBody(w, r)
	if err != nil || len(body) == 0 {
		return err
	}
	return unmarshal(r, body, &struct{}{})
}

// whole has the body of a request read before anything else is asked about it. A client
// that sends its body slowly would act with the session that it had when it began to,
// whatever has ended that since.
func whole(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.ContentLength != 0 {
			body, err := readBody(w, r)
			if err != nil {
				return err
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		return next(w, r)
	}
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close") // what is left of it is not waited for
		return nil, errTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, invalidJSON("The body did not arrive whole")
	}
	return body, nil
}

func unmarshal(r *http.Request, body []byte, into any) error {
	if !isJSON(r.Header) {
		return errNotJSON
	}
	// A null would be taken for an empty object.
	if jsontext.Value(body).Kind() != '{' {
		return invalidJSON("The body must be a JSON object")
	}
	return decodeFailure(json.Unmarshal(body, into, json.RejectUnknownMembers(true)))
}

// isJSON tells whether the body is sent as JSON in UTF-8, uncoded. It is also
// what keeps HTML forms out: no page of another origin can send this type
// without the browser asking first (OWASP ASVS 5.0 3.5.2).
func isJSON(h http.Header) bool {
	if len(h.Values("Content-Type")) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}

// decodeFailure says what was wrong with a body without quoting it.
func decodeFailure(err error) error {
	if err == nil {
		return nil
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return invalidFields(fieldError{fieldOf(syntax.JSONPointer), "duplicate", "is there twice"})
		}
		return invalidJSON("The body is not valid JSON in UTF-8")
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		field := fieldOf(semantic.JSONPointer)
		if errors.Is(err, json.ErrUnknownName) {
			return invalidFields(fieldError{field, "unknown", "is not a field of this request"})
		}
		return invalidFields(fieldError{field, "wrong_type", "has the wrong type"})
	}
	return invalidJSON("The body cannot be read")
}

// fieldOf names the member that a pointer leads to. A client's own text, it is
// cut to a length that fits an answer.
func fieldOf(pointer jsontext.Pointer) string {
	name := pointer.LastToken()
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "")
	}
	return name
}

func invalidJSON(detail string) error {
	return &failure{
		status: http.StatusBadRequest, code: "invalid_json", detail: detail,
		fields: []fieldError{{"", "invalid_json", detail}},
	}
}

func invalidFields(fields ...fieldError) error {
	first := fields[0]
	return &failure{
		status: http.StatusBadRequest, code: "validation_failed",
		detail: strings.TrimSpace(first.Field + " " + first.Message), fields: fields,
	}
}

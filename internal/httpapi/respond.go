package httpapi

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
)

// writeJSON responds with a value. It encodes the value before it writes anything, so that an
// error can still get a response.
func writeJSON[T any](w http.ResponseWriter, status int, value T) error {
	body, err := encodeJSON(value)
	if err != nil {
		return err
	}

	writeBody(w, status, jsonType, body)

	return nil
}

const jsonType = "application/json; charset=utf-8"

// encodeJSON encodes a value as one line, so that a terminal shows its prompt on the next one.
func encodeJSON[T any](value T) ([]byte, error) {
	body, err := json.Marshal(&value) // a pointer, because Marshal copies values that are not addressable

	return append(body, '\n'), err
}

// writeBody responds with a body.
func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)

	// An error means that the client has closed the connection.
	_, _ = w.Write(body)
}

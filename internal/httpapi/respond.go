package httpapi

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
)

// writeJSON answers with a value. Nothing is sent before the value is encoded,
// so an error still gets an answer of its own.
func writeJSON[T any](w http.ResponseWriter, status int, value T) error {
	body, err := json.Marshal(&value) // which would copy what has no address
	if err != nil {
		return err
	}
	writeBody(w, status, "application/json; charset=utf-8", body)
	return nil
}

func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// An error here is a client that went away.
	_, _ = w.Write(body)
}

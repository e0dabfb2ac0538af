package httpapi

import (
	"fmt"
	"net/http"
	"runtime/debug"
)

// handler answers a request or returns why it cannot. It must not write before
// it returns an error: the answer to the error is written for it, once.
type handler func(w http.ResponseWriter, r *http.Request) error

// endpoint is a handler that has settled what body it takes. Only bare and
// accepts make one, so that no route reads a body unchecked or ignores one. It asks to
// be admitted once the body is read and before any work is done.
type endpoint func(admission) handler

// admission counts a request against the limits of its route. account is the address
// of the account that it is about, where its body says so.
type admission func(w http.ResponseWriter, r *http.Request, account string) error

// bare makes an endpoint that takes no body, or an empty object.
func bare(h handler) endpoint {
	return func(admit admission) handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			if err := noBody(w, r); err != nil {
				return err
			}
			if err := admit(w, r, ""); err != nil {
				return err
			}
			return h(w, r)
		}
	}
}

// accepts makes an endpoint that takes a T: one JSON object, checked.
func accepts[T any](h func(http.ResponseWriter, *http.Request, T) error) endpoint {
	return func(admit admission) handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			in, err := decode[T](w, r)
			if err != nil {
				return err
			}
			account := ""
			if about, ok := any(in).(interface{ account() string }); ok {
				account = about.account()
			}
			if err := admit(w, r, account); err != nil {
				return err
			}
			return h(w, r, in)
		}
	}
}

// handle turns a handler into one for net/http. A panic is answered like an
// error: the process and the connection live on.
func (s *Server) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				s.fail(w, r, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	}
}

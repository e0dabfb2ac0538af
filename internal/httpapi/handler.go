package httpapi

import (
	"net/http"
	"reflect"

	"github.com/go-playground/validator/v10"

	"latchkey/internal/redisconn"
	"latchkey/internal/session"
	"latchkey/internal/telemetry"
	"latchkey/internal/user"
)

// handler responds to a request or returns an error, in which case it must not have written
// anything: Server.fail responds to the error.
type handler func(w http.ResponseWriter, r *http.Request) error

// endpoint decodes the body of a request and then handles it. Only noBody and jsonBody make
// one, so that no route uses a body unchecked or ignores one.
type endpoint struct {
	decode func(rules *validator.Validate, r *http.Request, body []byte) (call, error)
	// body is the type of the body, for the OpenAPI document. It is nil for noBody.
	body reflect.Type
	// maxBody is the largest body in bytes.
	maxBody int64
}

// call is a request whose body is decoded.
type call struct {
	email  user.Email // of the account that the body names, or ""
	handle handler
}

// noBody makes an endpoint that takes no body, or an empty object.
func noBody(h handler) endpoint {
	decode := func(_ *validator.Validate, r *http.Request, body []byte) (call, error) {
		if len(body) > 0 {
			if err := unmarshal(r, body, &struct{}{}); err != nil {
				return call{}, err
			}
		}

		return call{handle: h}, nil
	}

	return endpoint{decode: decode, maxBody: maxBody}
}

// jsonBody makes an endpoint that takes a T, a JSON object that has been checked. If T has an
// account method, attempts are limited by the email that it returns.
func jsonBody[T any](h func(http.ResponseWriter, *http.Request, T) error) endpoint {
	prepare := func(rules *validator.Validate, r *http.Request, body []byte) (call, error) {
		in, err := decode[T](rules, r, body)
		if err != nil {
			return call{}, err
		}

		c := call{handle: func(w http.ResponseWriter, r *http.Request) error { return h(w, r, in) }}
		if named, ok := any(in).(interface{ account() user.Email }); ok {
			c.email = named.account()
		}

		return c, nil
	}

	return endpoint{decode: prepare, body: reflect.TypeFor[T](), maxBody: maxBody}
}

// passwordBody is like jsonBody, for a T with passwords, which may be longer than other fields.
func passwordBody[T any](h func(http.ResponseWriter, *http.Request, T) error) endpoint {
	e := jsonBody(h)
	e.maxBody = maxPasswordBody

	return e
}

// serve returns the handler of a route. Every request to the API takes these steps.
func (s *Server) serve(rt route) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		// 1. Refuse changes by pages on other origins.
		if err := s.requireSameOrigin(w, r); err != nil {
			return err
		}

		// 2. Read the whole body before checking the session. Otherwise a client that sends its body
		// slowly could act with a session that has ended in the meantime.
		body, err := s.bodies.read(w, r, rt.endpoint.maxBody)
		if err != nil {
			return err
		}

		// 3. Require a session or a pending login, unless the route is public. From here on, the request may
		// wait for Redis for redisBudget in total, however many commands it takes.
		r, request, err := s.authorize(r, rt)
		if err != nil {
			isSignedOut := failureOf(err) == notAuthenticated
			if isSignedOut && rt.signedOut != nil && rt.signedOut(w, r) {
				return nil
			}

			return err
		}

		// 4. Check and decode the body.
		c, err := rt.endpoint.decode(s.rules, r, body)
		if err != nil {
			return err
		}
		request.email = c.email

		// 5. Apply the rate limits before doing any work. Known devices have limits of their own.
		if c.email != "" {
			if r, request.device, err = s.recognizeDevice(r, c.email); err != nil {
				return err
			}
		}
		r, err = s.checkRateLimit(w, r, request)
		if err != nil {
			return err
		}

		// 6. Handle the request.
		return c.handle(w, r)
	}
}

// authorize checks that a request may use a route, and returns it with its session or pending login. It also
// returns the attempt that the rate limits count. After an error, it returns the request unchanged.
func (s *Server) authorize(r *http.Request, rt route) (*http.Request, attempt, error) {
	request := attempt{limit: rt.limit}
	ctx := redisconn.WithBudget(r.Context(), s.redisBudget)
	if isBackground(r) {
		ctx = session.WithoutTouch(ctx)
	}

	switch rt.access {
	case withSession:
		loaded, err := s.sessions.Load(ctx, s.cookie.values(r)...)
		if err != nil {
			return r, request, err
		}
		ctx = loaded
		current, _ := s.sessions.FromContext(ctx)
		request.userID = current.UserID
	case withPendingLogin:
		loaded, p, err := s.loadPending(ctx, r)
		if err != nil {
			return r, request, err
		}
		ctx = loaded
		request.userID = p.UserID
		request.device = s.devices.proofs(r).Device(p.UserID, p.DeviceGeneration)
	case public:
	}

	authorized := r.WithContext(ctx)
	if err := s.requireVerifiedEmail(authorized, rt); err != nil {
		return r, request, err
	}
	if err := s.requireSecondFactor(authorized, rt); err != nil {
		return r, request, err
	}

	return authorized, request, nil
}

// touchHeader is a header with which a page reads in the background, for example to poll for news.
// Otherwise an open tab would keep its user signed in.
const touchHeader = "X-Session-Touch"

// isBackground reports whether a request must not extend the idle timeout of its session. Whatever
// changes something is done by the user.
func isBackground(r *http.Request) bool { return safe(r.Method) && r.Header.Get(touchHeader) == "no" }

// handle turns a handler into an http.HandlerFunc. A panic gets a response like an error, and
// neither the process nor the connection ends.
func (s *Server) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()

			switch p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				s.fail(w, r, telemetry.Recovered(p))
			}
		}()

		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	}
}

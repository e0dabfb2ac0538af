package apitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"latchkey/internal/device"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// Client sends requests with the cookies that a browser would send. It is not safe for
// concurrent use; Clone it instead.
type Client struct {
	*Server

	Token  string            // session cookie; not sent if empty
	Device string            // cookie that identifies a known device; not sent if empty
	Flows  map[string]string // cookies of sign-ins with a provider, by name

	Factors map[string]string // cookies of pending logins and trusted devices, by name

	Language string // Accept-Language; not sent if empty
}

// NewClient returns a client without cookies.
func (s *Server) NewClient() *Client { return &Client{Server: s} }

// WithToken returns a client that has only a session cookie.
func (s *Server) WithToken(token string) *Client { return &Client{Server: s, Token: token} }

// Clone returns a client with the same cookies.
func (c *Client) Clone() *Client {
	return &Client{Server: c.Server, Token: c.Token, Device: c.Device, Flows: maps.Clone(c.Flows), Factors: maps.Clone(c.Factors), Language: c.Language}
}

// Encode returns a value as JSON.
func Encode(body any) []byte { return must(json.Marshal(body)) }

// Do sends a request with a JSON body, or without a body if it is nil. Like all methods
// that send, it stores the cookies of the response and fails the test if the response
// breaks a rule that holds for every response.
func (c *Client) Do(method, path string, body any) Response {
	c.T.Helper()

	return c.doWith(http.Header{}, method, path, body)
}

// DoFrom is Do for a client whose IP address a proxy reports. The server must trust
// 127.0.0.1 as a proxy.
func (c *Client) DoFrom(ip, method, path string, body any) Response {
	c.T.Helper()

	return c.doWith(http.Header{"X-Forwarded-For": {ip}}, method, path, body)
}

func (c *Client) doWith(header http.Header, method, path string, body any) Response {
	c.T.Helper()

	var raw []byte
	if body != nil {
		raw = Encode(body)
		header.Set("Content-Type", "application/json")
	}

	return c.Send(method, path, header, raw)
}

// Send sends a request with any headers and body.
func (c *Client) Send(method, path string, header http.Header, body []byte) Response {
	c.T.Helper()

	a := Response{T: c.T, Request: method + " " + path}
	if err := c.send(&a, method, path, header, body); err != nil {
		// Not Fatal, because it must not be called from the goroutines of a race. Status 0
		// makes the caller's checks fail.
		c.T.Errorf("%s: got %d: %v\n%s", a.Request, a.Status, err, a.Raw)
		a.Status = 0
	}

	return a
}

func (c *Client) send(a *Response, method, path string, header http.Header, body []byte) error {
	req, err := http.NewRequest(method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}

	maps.Copy(req.Header, header)
	if c.Language != "" {
		req.Header.Set("Accept-Language", c.Language)
	}
	c.addCookies(req)

	res, err := c.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()

	a.Status = res.StatusCode
	a.Header = res.Header
	a.Raw, err = io.ReadAll(res.Body)
	if err != nil {
		return err
	}

	a.Cookie, err = c.storeCookies(res.Cookies())
	if err != nil {
		return err
	}

	return c.check(req, a)
}

func (c *Client) addCookies(req *http.Request) {
	if c.Token != "" {
		req.AddCookie(&http.Cookie{Name: c.Cookie.Name, Value: c.Token})
	}

	if c.Device != "" {
		req.AddCookie(&http.Cookie{Name: c.deviceCookie(), Value: c.Device})
	}

	for name, value := range c.Flows {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for name, value := range c.Factors {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
}

// deviceCookie returns the name of the cookie that identifies a known device.
func (c *Client) deviceCookie() string {
	if c.Cookie.Secure {
		return "__Host-device"
	}

	return "device"
}

// IsKnown reports whether the client's device is known to an account.
func (c *Client) IsKnown(u user.User) bool {
	return device.NewSigner(c.secrets).Read(c.Device).Device(u.ID, u.DeviceGeneration) != ""
}

// storeCookies stores the cookies of a response and returns the session cookie, if there
// is one.
func (c *Client) storeCookies(cookies []*http.Cookie) (sessionCookie *http.Cookie, err error) {
	for _, k := range cookies {
		switch {
		case k.Name == c.deviceCookie():
			c.Device = k.Value
			c.Secrets.Add("a device's proof", k.Value[strings.LastIndex(k.Value, ":")+1:])
		case strings.HasPrefix(strings.TrimPrefix(k.Name, "__Host-"), "oauth-"):
			c.Secrets.Add("the secret of a sign-in", k.Value)
			if c.Flows == nil {
				c.Flows = map[string]string{}
			}

			c.Flows[k.Name] = k.Value
			if k.MaxAge < 0 {
				delete(c.Flows, k.Name)
			}
		case isFactorCookie(k.Name):
			c.storeFactor(k)
		case k.Name == c.Cookie.Name && k.Domain == "" && c.Cookie.Domain != "" && k.MaxAge < 0 && sessionCookie == nil:
			// clears a cookie from the time before the server had a domain for it
		case k.Name == c.Cookie.Name && sessionCookie == nil:
			sessionCookie = k
			c.Token = k.Value
			if k.MaxAge < 0 {
				c.Token = ""
			}

			c.Secrets.Add("a session token", k.Value)
		default:
			return nil, fmt.Errorf("unexpected Set-Cookie %s", k)
		}
	}

	return sessionCookie, nil
}

// isFactorCookie reports whether a name is that of the cookie of a pending login or a trusted device.
func isFactorCookie(name string) bool {
	name = strings.TrimPrefix(name, "__Host-")

	return name == "mfa" || strings.HasPrefix(name, "trust-")
}

// storeFactor stores the cookie of a pending login or a trusted device.
func (c *Client) storeFactor(k *http.Cookie) {
	if c.Factors == nil {
		c.Factors = map[string]string{}
	}

	c.Factors[k.Name] = k.Value
	if k.MaxAge < 0 {
		delete(c.Factors, k.Name)
	}

	_, secret, isTrust := strings.Cut(k.Value, ".")
	if !isTrust {
		secret = k.Value
	}
	c.Secrets.Add("the cookie of a second factor", secret)
}

// check checks the rules that hold for every response.
func (c *Client) check(req *http.Request, a *Response) error {
	if err := a.parse(req.Method); err != nil {
		return err
	}

	if isJSON := strings.Contains(a.Header.Get("Content-Type"), "json"); isJSON && len(a.Raw) > 0 && !bytes.HasSuffix(a.Raw, []byte("}\n")) {
		return errors.New("the body does not end with a newline")
	}

	// The examples of documents contain passwords, and the types of the client contain words.
	isDocument := strings.HasSuffix(req.URL.Path, ".json") || strings.HasPrefix(req.URL.Path, "/client.")
	if description := c.Secrets.In(string(a.Raw)); description != "" && !isDocument {
		return fmt.Errorf("the response contains %s", description)
	}

	if c.SkipContract != nil && c.SkipContract(*a) {
		return nil
	}

	return checkContract(req, *a)
}

// Preflight sends the OPTIONS request that a browser sends before a cross-origin request.
func (c *Client) Preflight(path string, header http.Header) Response {
	c.T.Helper()

	req, err := http.NewRequestWithContext(c.T.Context(), http.MethodOptions, c.URL+path, nil)
	testkit.NoError(c.T, err)
	req.Header = header

	res, err := c.HTTP.Do(req)
	testkit.NoError(c.T, err)
	defer func() { _ = res.Body.Close() }()

	a := Response{T: c.T, Request: "OPTIONS " + path, Status: res.StatusCode, Header: res.Header}
	a.Raw, err = io.ReadAll(res.Body)
	testkit.NoError(c.T, err)
	testkit.NoError(c.T, a.parse(http.MethodOptions))

	return a
}

// Credentials returns the body of a login request.
func Credentials(email, password string) map[string]any {
	return map[string]any{"email": email, "password": password}
}

// AnnsLogin is the body of a login request for ann@example.com.
var AnnsLogin = Credentials("ann@example.com", Password)

// PasswordChange is the body of a request that changes Password to NewPassword.
var PasswordChange = map[string]any{"currentPassword": Password, "newPassword": NewPassword}

// Login signs in and reports whether the password was correct.
func (c *Client) Login(email, password string) bool {
	c.T.Helper()

	a := c.Do("POST", "/auth/login", Credentials(email, password))
	if a.Status != http.StatusOK {
		a.WantCode(http.StatusUnauthorized, "invalid_credentials")
	}

	return a.Status == http.StatusOK
}

// LoginFrom signs in ann@example.com in a browser with the given User-Agent.
func (s *Server) LoginFrom(userAgent string) *Client {
	s.T.Helper()

	c := s.NewClient()
	c.doWith(http.Header{"User-Agent": {userAgent}}, "POST", "/auth/login", AnnsLogin).Want(http.StatusOK)

	return c
}

// SessionID returns the ID of the client's session.
func (c *Client) SessionID() string {
	c.T.Helper()

	return c.Do("GET", "/auth/session", nil).Want(http.StatusOK).Text("sessionId")
}

// ListSessions returns the sessions of the client's account by ID.
func (c *Client) ListSessions() map[string]map[string]any {
	c.T.Helper()

	listed := map[string]map[string]any{}
	for _, v := range c.Do("GET", "/auth/sessions", nil).Want(http.StatusOK).JSON["sessions"].([]any) {
		item := v.(map[string]any)
		listed[item["id"].(string)] = item
	}

	return listed
}

// Identities returns the providers linked to the client's account, and whether it has a
// password.
func (c *Client) Identities() (linked []string, hasPassword bool) {
	c.T.Helper()

	a := c.Do("GET", "/auth/identities", nil).Want(http.StatusOK)
	for _, identity := range a.JSON["identities"].([]any) {
		linked = append(linked, identity.(map[string]any)["provider"].(string))
	}

	return linked, a.JSON["hasPassword"].(bool)
}

// WantReason fails the test unless the client's session has ended for the given reason
// and the response clears the cookie.
func (c *Client) WantReason(want session.Reason) {
	c.T.Helper()

	a := c.Clone().Do("GET", "/auth/me", nil).WantCode(http.StatusUnauthorized, "not_authenticated")
	if got := a.Text("reason"); got != string(want) {
		c.T.Errorf("reason: got %q, want %q", got, want)
	}
	if a.Cookie == nil || a.Cookie.MaxAge >= 0 {
		c.T.Errorf("session cookie: got %v, want it cleared", a.Cookie)
	}
}

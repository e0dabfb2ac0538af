package httpapi

import (
	"time"

	"github.com/swaggest/openapi-go/openapi31"

	"latchkey/internal/session"
	"latchkey/internal/user"
)

// operation describes a route in the OpenAPI document. Each handler has one beside it. The type
// of the request, the access, the rate limit and the errors come from the route table.
type operation struct {
	id          string // names the method of generated clients; do not change it
	tag         string
	summary     string
	description string
	// params is a struct whose path and query tags describe the parameters.
	params any
	// request is an example of the body that the endpoint decodes.
	request any
	// redirect describes a redirect, if the route has one in addition to its response.
	redirect string
	response
}

// response is the response to a successful request.
type response struct {
	status int
	result string // describes the response
	// body is an example. Its type describes the body.
	body      any
	mediaType string // application/json if empty
	// headers are names from responseHeaders.
	headers []string
}

// The tags group the operations.
const (
	tagLogin      = "Login"
	tagSession    = "Session"
	tagAccount    = "Account"
	tagFactors    = "Second factors"
	tagExternal   = "External accounts"
	tagOperations = "Operations"
)

// tags are the tags in the order in which the page shows them.
var tags = []openapi31.Tag{
	*(&openapi31.Tag{Name: tagLogin}).WithDescription("Registration, login, logout and forgotten passwords"),
	*(&openapi31.Tag{Name: tagSession}).WithDescription("The current session and the other sessions of the user"),
	*(&openapi31.Tag{Name: tagAccount}).WithDescription("Profile, email, password and recent activity"),
	*(&openapi31.Tag{Name: tagFactors}).WithDescription("Authenticator apps, recovery codes and trusted devices"),
	*(&openapi31.Tag{Name: tagExternal}).WithDescription("Login with Google, GitHub or any OpenID Connect provider"),
	*(&openapi31.Tag{Name: tagOperations}).WithDescription("Health checks and documentation"),
}

// responseHeader describes a header that a client may want to read.
type responseHeader struct {
	name        string
	description string
	pattern     string
	example     string
	required    bool // part of every response that lists it
}

var responseHeaders = []responseHeader{
	{
		name: "Set-Cookie",
		description: "Sets the session cookie, which is HttpOnly, or clears it with `Max-Age=0`. With `COOKIE_DOMAIN`, it also clears a session cookie without a domain. A login also sets the cookie `device` (`__Host-device` if it is Secure), and so does a change that revokes all other known devices. " +
			"That cookie grants no access: it gives known browsers their own rate limit.",
		example: "sid=...; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax",
	},
	{
		name:        "Clear-Site-Data",
		description: "Makes the browser delete what the pages of the API's own origin have stored: local storage, databases and service workers. Pages of other origins keep theirs.",
		example:     `"storage"`,
	},
	{
		name:        "RateLimit",
		description: "What is left of each limit that applied: `r` requests now, and the full number after `t` seconds (draft-ietf-httpapi-ratelimit-headers). `network` replaces `ip` if less is left for the client's IPv6 network. Missing if limits are off.",
		example:     `"ip";r=9;t=6, "account";r=9;t=6`,
	},
	{
		name:        "RateLimit-Policy",
		description: "The limits that applied: `q` requests in `w` seconds.",
		example:     `"ip";q=10;w=60, "account";q=10;w=60`,
	},
	{
		name:        "Retry-After",
		description: "The number of seconds to wait before trying again.",
		pattern:     "^[0-9]+$",
		example:     "1",
	},
	{
		name:        "Location",
		description: "Where the browser goes next.",
		example:     "https://app.example.com/",
		required:    true,
	},
	{name: "X-Auth-User-Id", description: "The user's ID.", example: exampleUser.ID, required: true},
	{
		name:        "X-Auth-Email",
		description: "The user's email, which may not be verified. Percent-encoded: `decodeURIComponent` decodes it.",
		pattern:     "^[A-Za-z0-9._~+@%-]+$",
		example:     string(exampleUser.Email),
		required:    true,
	},
	{
		name: "X-Auth-Email-Verified",
		description: "Whether the user has proved that they receive emails sent to it. " +
			"`true` is certain. `false` may also mean that MongoDB is down and the server does not know.",
		pattern:  "^(true|false)$",
		example:  "true",
		required: true,
	},
	{
		name:        "X-Auth-Level",
		description: "The level of authentication: `aal1` with one factor, `aal2` with two.",
		pattern:     "^aal[12]$",
		example:     session.AAL2,
		required:    true,
	},
	{
		name:        "X-Auth-Methods",
		description: "How the user has proved their identity, as in `GET /auth/session`, separated by commas.",
		pattern:     "^[a-z,]+$",
		example:     "pwd,otp",
		required:    true,
	},
	{
		name:        "X-Auth-Time",
		description: "When the user last proved a first factor, in seconds since 1970, like `auth_time` in OpenID Connect.",
		pattern:     "^[0-9]+$",
		example:     "1773480413",
		required:    true,
	},
	{name: "X-Auth-Session-Id", description: "The session's ID.", example: exampleSessionID, required: true},
}

// Values of the examples.
const (
	examplePassword     = "correct horse battery"
	exampleNewPassword  = "purple monkey dishwasher sunrise"
	exampleSessionID    = "Hs7m2VQ0pTz6yWkR3nXcJb8dLfGa1eUoIiN4qEvYtSxhB"
	exampleOldSessionID = "Hs0aFq8LzK5wYtD2nVbXe7RmJc3UpGh6QiS9oWyEu1kTd"
	exampleCode         = "492039"
	exampleRequestID    = "YQK2ZC4S7W3XJ6M5PRHNB8VEGD"
)

var exampleTime = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

var exampleTimes = session.Times{
	CreatedAt:     exampleTime,
	LastSeenAt:    exampleTime.Add(20 * time.Minute),
	IdleExpiresAt: exampleTime.Add(24*time.Hour + 20*time.Minute),
	ExpiresAt:     exampleTime.AddDate(0, 0, 30),
}

var exampleProof = session.Proof{
	AuthenticatedAt: exampleTime,
	Methods:         []session.Method{{Method: session.Password, At: exampleTime}},
}

var exampleUser = user.View{
	ID:            "65f0c0ffee0123456789abcd",
	Name:          "John Doe",
	Email:         "john@example.com",
	EmailVerified: true,
	Locale:        "en-US",
	IsActive:      true,
	LastLogin:     exampleTime,
	CreatedAt:     exampleTime.AddDate(0, -2, 0),
	UpdatedAt:     exampleTime.AddDate(0, 0, -3),
}

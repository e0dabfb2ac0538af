package config

import (
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Values of APP_ENV. Production rejects unsafe settings. It is the default, so that forgetting
// to set APP_ENV is safe.
const (
	Production  = "production"
	Development = "development"
	Test        = "test"
)

// DefaultPort is the port that the guides use.
const DefaultPort = 3000

// Config holds all settings of the server. A Config returned by Load is valid.
type Config struct {
	AppEnv    string     `env:"APP_ENV"`
	Host      string     `env:"HOST"`
	HTTPPort  int        `env:"PORT" envDefault:"3000"`
	LogLevel  slog.Level `env:"LOG_LEVEL" envDefault:"info"`
	LogFormat string     `env:"LOG_FORMAT" envDefault:"json"`

	// OpsAddr is the listen address of the private listener. If empty, there is no listener.
	OpsAddr string `env:"OPS_ADDR"`
	// OpsHosts lists the names with a dot that requests to the private listener may use.
	OpsHosts []string `env:"OPS_HOSTS"`
	// Telemetry holds the OTEL_* variables by name. Some are credentials.
	Telemetry map[string]Secret

	// DrainTime is how long the server keeps answering after SIGTERM.
	DrainTime time.Duration `env:"DRAIN_TIME" envDefault:"3s"`

	// FrontendURL lists the origins that may call the API, as browsers write them.
	FrontendURL []string `env:"FRONTEND_URL"`

	// TrustedProxies lists the IP prefixes of proxies whose X-Forwarded-For is trusted.
	TrustedProxies []string `env:"TRUSTED_PROXIES"`
	// TLSCertFile and TLSKeyFile are PEM files. Both are set if the server terminates TLS.
	TLSCertFile string `env:"TLS_CERT_FILE"`
	TLSKeyFile  string `env:"TLS_KEY_FILE"`

	MongoURI Secret `env:"MONGODB_URI"`
	// MongoTimeout bounds an operation on MongoDB.
	MongoTimeout time.Duration `env:"MONGODB_TIMEOUT" envDefault:"1200ms"`

	BcryptCost int `env:"BCRYPT_COST" envDefault:"10"`

	Redis    Redis
	Session  Session
	Cookie   Cookie
	Brand    Brand
	Accounts Accounts
	Factors  Factors
	Limits   Limits
	Mail     Mail

	// Registration holds the rules for new accounts.
	Registration Registration

	// Providers lists Google, then GitHub, then the others by name.
	Providers []Provider

	// Warnings are logged at startup: settings that are valid but probably unintended.
	Warnings []string
	// Weaknesses are settings that protect less than their defaults. They are logged at startup, too.
	Weaknesses []Weakness
}

// Addr returns the listen address of the API.
func (c *Config) Addr() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.HTTPPort)) }

// Redis locates Redis: one server, Sentinels, or a cluster. At most one of URI, Sentinels and
// Cluster is set. URI overrides the fields that it mentions.
type Redis struct {
	URI      Secret `env:"REDIS_URI"`
	Host     string `env:"REDIS_HOST" envDefault:"localhost"`
	Port     int    `env:"REDIS_PORT" envDefault:"6379"`
	Username string `env:"REDIS_USERNAME"`
	Password Secret `env:"REDIS_PASSWORD"`
	DB       int    `env:"REDIS_DB" envDefault:"0"`
	TLS      bool   `env:"REDIS_TLS" envDefault:"false"`

	// Timeout bounds a command.
	Timeout time.Duration `env:"REDIS_TIMEOUT" envDefault:"400ms"`

	// Sentinels lists the host:port of each Sentinel that monitors Master.
	Sentinels        []string `env:"REDIS_SENTINELS"`
	Master           string   `env:"REDIS_SENTINEL_MASTER"` // default mymaster
	SentinelUsername string   `env:"REDIS_SENTINEL_USERNAME"`
	SentinelPassword Secret   `env:"REDIS_SENTINEL_PASSWORD"`

	// Cluster lists the host:port of some nodes of a Redis Cluster.
	Cluster []string `env:"REDIS_CLUSTER"`
}

// RequestBudget returns the total time that one request may wait for Redis. By default it is
// 700 ms: the rest of the second in which the API answers is for undoing unfinished changes.
func (r Redis) RequestBudget() time.Duration { return r.Timeout * 7 / 4 }

// Addr returns the host:port to dial.
func (r Redis) Addr() string { return net.JoinHostPort(r.Host, strconv.Itoa(r.Port)) }

// Session holds the timeouts of sessions and the secrets that sign their records.
type Session struct {
	// Secrets sign the records of sessions. The first one signs, all are accepted.
	Secrets []Secret `env:"SESSION_SECRET"`
	// MaxAge is the idle timeout.
	MaxAge time.Duration `env:"SESSION_MAX_AGE" envDefault:"24h"`
	// AbsoluteMaxAge ends a session even if it is in use.
	AbsoluteMaxAge time.Duration `env:"SESSION_ABSOLUTE_MAX_AGE" envDefault:"720h"`
	// TouchInterval is the minimum time between two extensions of the idle timeout. It
	// defaults to a tenth of MaxAge, but at most a minute.
	TouchInterval time.Duration `env:"SESSION_TOUCH_INTERVAL"`
	// MaxPerUser is the maximum number of sessions per user; 0 means no limit.
	MaxPerUser int `env:"SESSION_MAX_PER_USER" envDefault:"100"`
	// Cache bounds the memory for sessions and accounts, in bytes; 0 means that every check reads Redis.
	Cache SizeOrOff `env:"SESSION_CACHE" envDefault:"64MiB"`
}

// Cookie holds the name and attributes of the session cookie.
type Cookie struct {
	// Name defaults to __Host-sid, to __Secure-sid with a Domain, and to sid without Secure.
	Name     string        `env:"SESSION_NAME"`
	Domain   string        `env:"COOKIE_DOMAIN"`
	Secure   bool          `env:"COOKIE_SECURE" envDefault:"true"`
	SameSite http.SameSite `env:"COOKIE_SAME_SITE" envDefault:"lax"`
}

// Accounts holds the rules for passwords, links in emails and recent logins.
type Accounts struct {
	// PublicURL is the base URL of links in emails. It defaults to the first FRONTEND_URL.
	PublicURL string `env:"PUBLIC_URL"`
	// Pages turns on the built-in pages. PublicURL then is the URL of this server.
	Pages OnOff `env:"PAGES" envDefault:"off"`
	// PasswordMinLength is the minimum length of new passwords in characters.
	PasswordMinLength int `env:"PASSWORD_MIN_LENGTH" envDefault:"8"`
	// RefuseCommon rejects common passwords.
	RefuseCommon Refuse `env:"PASSWORD_COMMON" envDefault:"refuse"`
	// BreachURL is the URL of a range API in the style of Have I Been Pwned. If empty,
	// passwords are not looked up.
	BreachURL string `env:"PASSWORD_BREACH_URL"`
	// StepUpMaxAge is how long a login counts as recent.
	StepUpMaxAge time.Duration `env:"STEP_UP_MAX_AGE" envDefault:"10m"`
	// ResetMaxAge and VerifyMaxAge are the lifetimes of links in emails.
	ResetMaxAge  time.Duration `env:"RESET_LINK_MAX_AGE" envDefault:"30m"`
	VerifyMaxAge time.Duration `env:"VERIFY_LINK_MAX_AGE" envDefault:"24h"`
	// CacheMaxAge is how long an account may be shown from memory after it was read. Zero means that
	// it is always read.
	CacheMaxAge time.Duration `env:"USER_CACHE_MAX_AGE" envDefault:"1s"`
	// ActivityRetention is how long security events are kept.
	ActivityRetention time.Duration `env:"ACTIVITY_RETENTION" envDefault:"2160h"`
}

// Limits holds the rate limits. The zero value limits nothing.
type Limits struct {
	// Default applies to limits that are not set. If it is zero, all limits are off.
	Default RateOrOff `env:"RATE_LIMIT" envDefault:"10/60s"`
	// Per client IP.
	Register Rate `env:"RATE_LIMIT_REGISTER"`
	Login    Rate `env:"RATE_LIMIT_LOGIN"`
	Mail     Rate `env:"RATE_LIMIT_MAIL"`     // requests that send an email with a link
	Token    Rate `env:"RATE_LIMIT_TOKEN"`    // requests that use such a link
	Password Rate `env:"RATE_LIMIT_PASSWORD"` // requests in a session that prove a password
	OAuth    Rate `env:"RATE_LIMIT_OAUTH"`    // sign-ins with a provider; defaults to signInShare times Default
	// Per account, from any IP. Defaults to accountShare times Login.
	Account Rate `env:"RATE_LIMIT_ACCOUNT"`
	// Per known device of an account. Counted before the limits per IP and account.
	Device Rate `env:"RATE_LIMIT_DEVICE"`
}

// Mail holds the settings for sending emails.
type Mail struct {
	// URL is an smtp:// or smtps:// URL. If empty, no email is sent.
	URL  Secret `env:"SMTP_URL"`
	From string `env:"MAIL_FROM"`
	// HeloName is our name in EHLO. If empty, the host name or IP is used.
	HeloName string `env:"SMTP_HELO_NAME"`
	// Interval is the minimum time between two emails with a link to one recipient.
	Interval time.Duration `env:"MAIL_INTERVAL" envDefault:"1m"`
}

// Provider is an OAuth provider that users can sign in with.
type Provider struct {
	Kind   string // OIDC, Google or GitHub
	Name   string // as in /auth/<name>
	Title  string // shown on buttons
	Prefix string // of its settings, for messages
	// Issuer is the issuer identifier, compared byte by byte. For GitHub it is the URL of the
	// website.
	Issuer string
	APIURL string // GitHub only
	Scopes []string
	Client
}

// Client holds the credentials that a provider issued for this server.
type Client struct {
	ClientID     string `env:"CLIENT_ID"`
	ClientSecret Secret `env:"CLIENT_SECRET"`
	CallbackURL  string `env:"CALLBACK_URL"`
}

// Kinds of providers.
const (
	OIDC   = "oidc" // any OpenID Connect provider
	Google = "google"
	GitHub = "github"
)

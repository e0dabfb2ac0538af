package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v10"
)

// Environments that APP_ENV may name. Production is the one that refuses unsafe
// settings, and the default, so that forgetting to say it is the safe mistake.
const (
	Production  = "production"
	Development = "development"
	Test        = "test"
)

// DefaultPort is the port of the guides.
const DefaultPort = 3000

// Config is every setting of the server. Load fills and checks it; a Config
// that Load returned needs no further checks.
type Config struct {
	AppEnv    string     `env:"APP_ENV" envDefault:"production"`
	Host      string     `env:"HOST"`
	HTTPPort  int        `env:"PORT" envDefault:"3000"`
	LogLevel  slog.Level `env:"LOG_LEVEL" envDefault:"info"`
	LogFormat string     `env:"LOG_FORMAT"`

	// OpsAddr is where the private listener with the metrics is, host:port; "" is nowhere.
	OpsAddr string `env:"OPS_ADDR"`
	// Telemetry are the variables of OpenTelemetry, OTEL_*.
	Telemetry map[string]Secret

	// DrainTime is how long the server goes on answering when it is told to stop, while it
	// says that it is not ready and closes each connection behind its answer.
	DrainTime Duration `env:"DRAIN_TIME" envDefault:"3s"`

	// FrontendURL lists the origins of the pages that may call the API with
	// credentials, as browsers write them.
	FrontendURL []string `env:"FRONTEND_URL"`

	// TrustedProxies are the prefixes (CIDR) of the proxies in front, whose word on the
	// client's address is taken.
	TrustedProxies []string `env:"TRUSTED_PROXIES"`
	// TLSCertFile and TLSKeyFile are the certificate and its key (PEM) where the server
	// speaks TLS itself.
	TLSCertFile string `env:"TLS_CERT_FILE"`
	TLSKeyFile  string `env:"TLS_KEY_FILE"`

	MongoURI   Secret `env:"MONGODB_URI"`
	BcryptCost int    `env:"BCRYPT_COST" envDefault:"10"`

	Redis    Redis
	Session  Session
	Cookie   Cookie
	Accounts Accounts
	Limits   Limits
	Mail     Mail

	// Providers are whose accounts people may sign in with: Google, GitHub, then the others
	// by name.
	Providers []Provider

	// Warnings are things to tell the operator at each start: nothing is wrong,
	// but something may not be as they believe.
	Warnings []string
}

// Addr is the address to listen at.
func (c *Config) Addr() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.HTTPPort)) }

// Redis says where Redis is. Sentinels and Cluster, where set, win over URI, which
// they exclude, and that over Host and Port; Password fills in for a URI that has
// none, as in the guides.
type Redis struct {
	URI      Secret `env:"REDIS_URI"`
	Host     string `env:"REDIS_HOST" envDefault:"localhost"`
	Port     int    `env:"REDIS_PORT" envDefault:"6379"`
	Username string `env:"REDIS_USERNAME"`
	Password Secret `env:"REDIS_PASSWORD"`
	DB       int    `env:"REDIS_DB" envDefault:"0"`
	TLS      bool   `env:"REDIS_TLS" envDefault:"false"`

	// Sentinels are addresses of Sentinels, host:port, which watch over Master.
	Sentinels        []string `env:"REDIS_SENTINELS"`
	Master           string   `env:"REDIS_SENTINEL_MASTER"` // mymaster unless it is set
	SentinelUsername string   `env:"REDIS_SENTINEL_USERNAME"`
	SentinelPassword Secret   `env:"REDIS_SENTINEL_PASSWORD"`

	// Cluster are addresses of some servers of a Redis Cluster, host:port.
	Cluster []string `env:"REDIS_CLUSTER"`
}

// Addr is the host and port to dial.
func (r Redis) Addr() string { return net.JoinHostPort(r.Host, strconv.Itoa(r.Port)) }

// Session holds the lifetimes of a session and the secrets of its handles.
type Session struct {
	// Secrets key the HMAC that turns a cookie's token into a handle. The first
	// makes new handles, all are accepted.
	Secrets []Secret `env:"SESSION_SECRET"`
	// MaxAge is the idle lifetime: a session that is not used for so long ends.
	MaxAge Duration `env:"SESSION_MAX_AGE" envDefault:"24h"`
	// AbsoluteMaxAge ends a session however much it is used.
	AbsoluteMaxAge Duration `env:"SESSION_ABSOLUTE_MAX_AGE" envDefault:"720h"`
	// TouchInterval is the least time between two extensions of MaxAge. Zero
	// until validate derives it.
	TouchInterval Duration `env:"SESSION_TOUCH_INTERVAL"`
	// MaxPerUser is how many sessions a user has at most; 0 is no limit.
	MaxPerUser int `env:"SESSION_MAX_PER_USER" envDefault:"100"`
}

// Cookie is how the session cookie is sent.
type Cookie struct {
	// Name is derived where unset: __Host-sid where the cookie is Secure and has
	// no Domain, otherwise sid.
	Name   string `env:"SESSION_NAME"`
	Domain string `env:"COOKIE_DOMAIN"`
	// SecureFlag is the text of COOKIE_SECURE; Secure is what it comes to: on in
	// production unless it is set to false.
	SecureFlag   string `env:"COOKIE_SECURE"`
	Secure       bool
	SameSiteName string `env:"COOKIE_SAME_SITE" envDefault:"lax"`
	SameSite     http.SameSite
}

// Secret is a value that must never be printed.
type Secret string

// String hides the value from fmt.
func (Secret) String() string { return "[hidden]" }

// GoString hides the value from fmt's %#v.
func (Secret) GoString() string { return "[hidden]" }

// MarshalText hides the value from encoding/json and slog, at any depth.
func (Secret) MarshalText() ([]byte, error) { return []byte("[hidden]"), nil }

// Duration is a length of time, written as a Go duration (24h) or, as in the
// guides, as a bare number of milliseconds (86400000).
type Duration time.Duration

// UnmarshalText parses either form.
func (d *Duration) UnmarshalText(b []byte) error {
	if ms, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		const most = int64(1<<63-1) / int64(time.Millisecond)
		if ms < 0 || ms > most {
			return errors.New("out of range")
		}
		*d = Duration(time.Duration(ms) * time.Millisecond)
		return nil
	}
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return errors.New("neither a duration like 24h nor a number of milliseconds")
	}
	*d = Duration(v)
	return nil
}

// Load reads a Config from variables by name, as Environ gives them. The error
// lists every fault, a line each, and never holds the value of a secret.
func Load(vars map[string]string) (Config, error) {
	vars, faults := resolve(vars)
	var c Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: vars}); err != nil {
		faults = append(faults, parseFaults(err)...)
	}
	c.Telemetry = telemetryVars(vars)
	faults = append(faults, c.validate(vars)...)
	if len(faults) > 0 {
		return Config{}, settingsError(faults)
	}
	return c, nil
}

// settingsError is the whole list of what is wrong with the settings.
type settingsError []error

func (e settingsError) Error() string {
	lines := make([]string, 0, len(e)+1)
	noun := "settings are"
	if len(e) == 1 {
		noun = "setting is"
	}
	lines = append(lines, fmt.Sprintf("%d %s wrong:", len(e), noun))
	for _, fault := range e {
		lines = append(lines, "  "+fault.Error())
	}
	return strings.Join(lines, "\n")
}

// parseFaults names the variable of each value that did not parse. The parser's
// own text names the Go field instead and quotes the value.
func parseFaults(err error) []error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []error{err}
	}
	faults := make([]error, 0, len(all.Errors))
	for _, err := range all.Errors {
		var parse env.ParseError
		if !errors.As(err, &parse) {
			faults = append(faults, err)
			continue
		}
		faults = append(faults, fmt.Errorf("%s: %s", variableOf[parse.Name], expected(parse)))
	}
	return faults
}

// variableOf maps the fields of Config that can fail to parse to the names of
// their variables.
var variableOf = variables(reflect.TypeFor[Config]())

func variables(of reflect.Type) map[string]string {
	names := map[string]string{}
	for field := range of.Fields() {
		name, tagged := field.Tag.Lookup("env")
		switch kind := field.Type.Kind(); {
		case tagged && kind != reflect.String && kind != reflect.Slice:
			names[field.Name] = name
		case !tagged && kind == reflect.Struct:
			maps.Copy(names, variables(field.Type))
		}
	}
	return names
}

func expected(parse env.ParseError) string {
	switch parse.Type {
	case reflect.TypeFor[slog.Level]():
		return "must be debug, info, warn or error"
	case reflect.TypeFor[bool]():
		return "must be true or false"
	case reflect.TypeFor[Duration]():
		return "must be a duration like 24h or a number of milliseconds"
	case reflect.TypeFor[Rate]():
		return "must be a rate like 10/60s"
	default:
		return "must be a whole number"
	}
}

// applyRedisURI spreads REDIS_URI over the fields beside it.
func (c *Config) applyRedisURI() error {
	if c.Redis.URI == "" {
		return nil
	}
	u, err := url.Parse(string(c.Redis.URI))
	if err != nil || u.Hostname() == "" || (u.Scheme != "redis" && u.Scheme != "rediss") || u.RawQuery != "" {
		return errors.New("REDIS_URI: must look like redis://user:password@host:6379/0 or rediss://")
	}
	c.Redis.Host, c.Redis.TLS = u.Hostname(), c.Redis.TLS || u.Scheme == "rediss"
	c.Redis.Port = 6379
	if p := u.Port(); p != "" {
		if c.Redis.Port, err = strconv.Atoi(p); err != nil {
			return errors.New("REDIS_URI: the port is not a number")
		}
	}
	if name := u.User.Username(); name != "" {
		c.Redis.Username = name
	}
	if password, ok := u.User.Password(); ok && password != "" {
		c.Redis.Password = Secret(password)
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		if c.Redis.DB, err = strconv.Atoi(path); err != nil {
			return errors.New("REDIS_URI: the part after the last / must be the number of a database")
		}
	}
	return nil
}

// telemetryVars are the variables that OpenTelemetry reads itself. They may hold what a
// collector knows us by.
func telemetryVars(vars map[string]string) map[string]Secret {
	found := map[string]Secret{}
	for name, value := range vars {
		if strings.HasPrefix(name, "OTEL_") {
			found[name] = Secret(value)
		}
	}
	return found
}

package config

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"
)

// minSecretBytes is the shortest SESSION_SECRET that production accepts: an
// HMAC key as long as its hash (RFC 2104 section 3).
const minSecretBytes = 32

// minSecretDistinct is how many different characters it has at least. 32 random
// hex digits have fewer than 8 once in ten billion times.
const minSecretDistinct = 8

// publishedSecrets are pieces of the example secrets in guides and in this
// repository. Whoever can read them can compute a handle from a token, and
// nothing protects a secret that is printed in a tutorial.
var publishedSecrets = []string{"change-this", "change-me", "changeme", "your-secret", "your-super-secret", "your-session-secret"}

// maxSessionsPerUser bounds the work of a list: each session in it is read.
const maxSessionsPerUser = 1000

// bcrypt cost limits. Below 10 is no longer an approved password hash (OWASP
// ASVS 5.0 11.4.2); 14 takes over a second, so above it logins stop working.
const (
	minBcryptCost           = 4
	minBcryptCostProduction = 10
	maxBcryptCost           = 14
)

// validate fills in what depends on other settings and returns all that is wrong.
func (c *Config) validate(vars map[string]string) []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	switch c.AppEnv {
	case Production, Development, Test:
	default:
		fault("APP_ENV: must be %s, %s or %s", Production, Development, Test)
	}
	if c.HTTPPort < 0 || c.HTTPPort > 65535 {
		fault("PORT: must be from 0 to 65535")
	}
	if c.OpsAddr != "" {
		_, port, err := net.SplitHostPort(c.OpsAddr)
		if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 0 || n > 65535 {
			fault("OPS_ADDR: must be an address and a port like 127.0.0.1:9090, or :9090")
		}
	}
	if c.LogFormat == "" {
		c.LogFormat = "json"
		if c.AppEnv == Development {
			c.LogFormat = "text"
		}
	}
	if c.LogFormat != "json" && c.LogFormat != "text" {
		fault("LOG_FORMAT: must be json or text")
	}
	least := minBcryptCost
	if c.AppEnv == Production {
		least = minBcryptCostProduction
	}
	if c.BcryptCost < least || c.BcryptCost > maxBcryptCost {
		fault("BCRYPT_COST: must be from %d to %d", least, maxBcryptCost)
	}

	if d := time.Duration(c.DrainTime); d < 0 || d > time.Minute {
		fault("DRAIN_TIME: must be from 0 to a minute")
	}

	faults = append(faults, c.validateOrigins()...)
	faults = append(faults, c.validateEdge()...)
	faults = append(faults, c.validateStores()...)
	faults = append(faults, c.validateSession()...)
	faults = append(faults, c.validateCookie()...)
	faults = append(faults, c.validateAccounts()...)
	faults = append(faults, c.readProviders(vars)...)

	return faults
}

func (c *Config) validateStores() []error {
	var faults []error
	if err := c.applyRedisURI(); err != nil {
		faults = append(faults, err)
	}
	if c.Redis.Port < 1 || c.Redis.Port > 65535 {
		faults = append(faults, errors.New("REDIS_PORT: must be from 1 to 65535"))
	}
	if c.Redis.DB < 0 {
		faults = append(faults, errors.New("REDIS_DB: must be 0 or more"))
	}
	faults = append(faults, c.Redis.validatePlaces()...)
	uri := string(c.MongoURI)
	switch {
	case uri == "" && c.AppEnv == Production:
		faults = append(faults, errors.New("MONGODB_URI: is missing, for example mongodb://localhost:27017/latchkey"))
	case uri == "":
		c.MongoURI = "mongodb://localhost:27017/latchkey"
	case strings.HasPrefix(uri, "mongodb+srv://"):
		// Checking it further asks DNS, which is for the connection to do.
	default:
		if _, err := connstring.ParseAndValidate(uri); err != nil {
			// The parser's text may quote the password.
			faults = append(faults, errors.New("MONGODB_URI: must look like mongodb://user:password@host:27017/database"))
		}
	}
	return faults
}

// sentinelPort is the port of Redis Sentinel where none is given.
const sentinelPort = "26379"

// validatePlaces checks the settings of a Redis that is more than one server.
func (r *Redis) validatePlaces() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for name, list := range map[string]struct {
		addrs []string
		port  string
	}{"REDIS_SENTINELS": {r.Sentinels, sentinelPort}, "REDIS_CLUSTER": {r.Cluster, "6379"}} {
		if len(list.addrs) > 0 && r.URI != "" {
			fault("%s: set it or REDIS_URI, not both", name)
		}
		for i, addr := range list.addrs {
			var ok bool
			if list.addrs[i], ok = hostPort(addr, list.port); !ok {
				fault("%s: must be addresses like redis-1.example.com:%s, separated by commas", name, list.port)
				break
			}
		}
	}
	if len(r.Sentinels) == 0 && (r.Master != "" || r.SentinelUsername != "" || r.SentinelPassword != "") {
		fault("REDIS_SENTINELS: is missing, though another REDIS_SENTINEL name is set")
	}
	if r.Master == "" {
		r.Master = "mymaster"
	}
	if len(r.Sentinels) > 0 && len(r.Cluster) > 0 {
		fault("REDIS_CLUSTER: set it or REDIS_SENTINELS, not both")
	}
	if len(r.Cluster) > 0 && r.DB != 0 {
		fault("REDIS_DB: a cluster has no other database than 0")
	}
	return faults
}

// hostPort completes an address by a port where it has none.
func hostPort(addr, port string) (string, bool) {
	addr = strings.TrimSpace(addr)
	host, given, err := net.SplitHostPort(addr)
	if err != nil {
		host, given = strings.Trim(addr, "[]"), port
	}
	n, err := strconv.Atoi(given)
	if host == "" || strings.ContainsAny(host, "/@ ") || err != nil || n < 1 || n > 65535 {
		return addr, false
	}
	return net.JoinHostPort(host, given), true
}

func (c *Config) validateSession() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	s := &c.Session
	if len(s.Secrets) == 0 {
		fault("SESSION_SECRET: is missing; make one with: openssl rand -base64 32")
	}
	for i, secret := range s.Secrets {
		s.Secrets[i] = Secret(strings.TrimSpace(string(secret)))
		switch {
		case s.Secrets[i] == "":
			fault("SESSION_SECRET: one of the secrets between the commas is empty")
		case c.AppEnv != Production:
		case len(s.Secrets[i]) < minSecretBytes:
			fault("SESSION_SECRET: must have at least %d characters; make one with: openssl rand -base64 32", minSecretBytes)
		case distinct(string(s.Secrets[i])) < minSecretDistinct:
			fault("SESSION_SECRET: is too regular to be secret; make one with: openssl rand -base64 32")
		case isPublished(string(s.Secrets[i])):
			fault("SESSION_SECRET: is an example that anyone can read; make one with: openssl rand -base64 32")
		}
	}

	idle, absolute := time.Duration(s.MaxAge), time.Duration(s.AbsoluteMaxAge)
	if idle < time.Second {
		fault("SESSION_MAX_AGE: must be at least a second")
	}
	if absolute < idle {
		fault("SESSION_ABSOLUTE_MAX_AGE: must not be shorter than SESSION_MAX_AGE (%v)", idle)
	}
	if s.MaxPerUser < 0 || s.MaxPerUser > maxSessionsPerUser {
		fault("SESSION_MAX_PER_USER: must be from 0, which is no limit, to %d", maxSessionsPerUser)
	}
	if s.TouchInterval == 0 {
		s.TouchInterval = Duration(min(time.Minute, idle/10))
	}
	if t := time.Duration(s.TouchInterval); t < 0 || t > idle/2 {
		// Longer, and someone who uses a session all the time would be idle to us.
		fault("SESSION_TOUCH_INTERVAL: must be at most half of SESSION_MAX_AGE (%v)", idle)
	}
	return faults
}

// distinct counts the different bytes of a secret.
func distinct(secret string) int {
	seen := map[byte]bool{}
	for i := range len(secret) {
		seen[secret[i]] = true
	}
	return len(seen)
}

func isPublished(secret string) bool {
	secret = strings.ToLower(strings.NewReplacer("_", "-", " ", "-").Replace(secret))
	for _, piece := range publishedSecrets {
		if strings.Contains(secret, piece) {
			return true
		}
	}
	return false
}

// Cookie name prefixes that browsers hold to rules (RFC 6265bis section 4.1.3).
const (
	hostPrefix   = "__Host-"
	securePrefix = "__Secure-"
)

func (c *Config) validateCookie() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	k := &c.Cookie
	switch strings.ToLower(k.SecureFlag) {
	case "true", "1":
		k.Secure = true
	case "false", "0":
		if c.AppEnv == Production {
			fault("COOKIE_SECURE: false would send the session in the clear; production needs true")
		}
	case "":
		k.Secure = c.AppEnv == Production
	default:
		fault("COOKIE_SECURE: must be true or false")
	}
	switch strings.ToLower(k.SameSiteName) {
	case "lax":
		k.SameSite = http.SameSiteLaxMode
	case "strict":
		k.SameSite = http.SameSiteStrictMode
	case "none":
		k.SameSite = http.SameSiteNoneMode
		if !k.Secure {
			fault("COOKIE_SAME_SITE: none needs COOKIE_SECURE=true, or browsers drop the cookie")
		}
	default:
		fault("COOKIE_SAME_SITE: must be lax, strict or none")
	}

	k.Domain = strings.TrimPrefix(strings.ToLower(k.Domain), ".")
	if k.Domain == "localhost" {
		// A cookie without a Domain is what the guides mean by this, and what
		// every client accepts.
		k.Domain = ""
	}
	if k.Domain != "" && (net.ParseIP(k.Domain) != nil || !strings.Contains(strings.TrimSuffix(k.Domain, "."), ".") ||
		(&http.Cookie{Name: "x", Domain: k.Domain}).Valid() != nil) {
		fault("COOKIE_DOMAIN: must be a domain like example.com, without scheme, port or path")
	}

	if k.Name == "" {
		k.Name = "sid"
		if k.Secure && k.Domain == "" {
			k.Name = hostPrefix + "sid"
		}
	}
	if (&http.Cookie{Name: k.Name}).Valid() != nil {
		fault("SESSION_NAME: must be letters, digits and any of -._")
	}
	host, secure := hasPrefixFold(k.Name, hostPrefix), hasPrefixFold(k.Name, securePrefix)
	if host && k.Domain != "" {
		fault("SESSION_NAME: browsers drop a %s cookie that has a Domain; unset COOKIE_DOMAIN or take another name", hostPrefix)
	}
	if (host || secure) && !k.Secure {
		fault("SESSION_NAME: browsers drop a %s cookie without Secure; set COOKIE_SECURE=true or take another name", k.Name[:strings.Index(k.Name, "-")+1])
	}
	return faults
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/telemetry"
)

// canaries are the secrets of a test. None may ever stand in a log, an answer, Redis or
// MongoDB; every test of this package looks for them at its end, and at every answer
// (OWASP ASVS 5.0 16.2.5, 16.5.1).
type canaries struct {
	mu     sync.Mutex
	tokens map[string]string // what it is, by its text in base64url
}

// known are those that every test has.
var known = map[string]string{
	testPassword: "a password", newPassword: "a new password", "the password of a thief": "a refused password",
	testSecret: "SESSION_SECRET", "hs256$2a$": "a password's hash", "wrong password": "a wrong password",
}

// tokenIn finds what could be one: a device's proof has 128 bits, in base64url.
var tokenIn = regexp.MustCompile(`[A-Za-z0-9_-]{22,}`)

func (c *canaries) add(what, token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens == nil {
		c.tokens = map[string]string{}
	}
	c.tokens[token] = what
}

// in names the first secret that stands in a text; except is one that may.
func (c *canaries) in(text string, except ...string) string {
	for secret, what := range known {
		if strings.Contains(text, secret) && (len(except) == 0 || secret != except[0]) {
			return what
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, candidate := range tokenIn.FindAllString(text, -1) {
		if what, ok := c.tokens[candidate]; ok {
			return what
		}
	}
	return ""
}

// sing fails the test where a secret stands somewhere. A store that the test has taken
// away is not asked.
func (s *site) sing() {
	if found := s.canaries.in(s.log.String()); found != "" {
		s.t.Errorf("%s is in the log", found)
	}
	exposed := s.exposed()
	if found := s.canaries.in(exposed); found != "" {
		s.t.Errorf("%s is in the metrics", found)
	}
	// What a client asks may be of no set of the metrics, what the server says of itself not.
	if drifted := regexp.MustCompile(`(?m)^latchkey_(sessions|logins|limit|mails|redis|mongo).*="other".*`).FindString(exposed); drifted != "" {
		s.t.Errorf("a value that package telemetry does not know: %s", drifted)
	}
	if dump := s.dumpRedis(); s.canaries.in(dump) != "" {
		s.t.Errorf("%s is in Redis", s.canaries.in(dump))
	}
	if dump := s.dumpMongo(); s.canaries.in(dump, "hs256$2a$") != "" {
		s.t.Errorf("%s is in MongoDB", s.canaries.in(dump, "hs256$2a$"))
	}
}

// exposed is what a Prometheus reads.
func (s *site) exposed() string {
	w := httptest.NewRecorder()
	telemetry.Ops(s.metrics, func(context.Context) error { return nil }, slog.Default()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// dumpRedis is all that is in Redis, or as much as can be read of it.
func (s *site) dumpRedis() string {
	if s.redis.Cluster != nil || s.redis.Sentinels != nil {
		return "" // the same code wrote the same keys there
	}
	conn, err := redis.Dial("tcp", s.redis.Addr, redis.DialDatabase(s.redis.DB), redis.DialConnectTimeout(time.Second), redis.DialReadTimeout(time.Second))
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	var dump strings.Builder
	keys, _ := redis.Strings(conn.Do("KEYS", "*"))
	for _, key := range keys {
		var value any
		switch kind, _ := redis.String(conn.Do("TYPE", key)); kind {
		case "string":
			value, _ = redis.String(conn.Do("GET", key))
		case "zset":
			value, _ = redis.Strings(conn.Do("ZRANGE", key, 0, -1))
		case "hash":
			value, _ = redis.Strings(conn.Do("HGETALL", key))
		default:
			value = "of an unknown type " + kind
		}
		_, _ = fmt.Fprintln(&dump, key, value)
	}
	return dump.String()
}

// dumpMongo is all that is in MongoDB, or as much as can be read of it.
func (s *site) dumpMongo() string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var dump strings.Builder
	for _, name := range []string{"users", "identities", "activity"} {
		found, err := s.db.Collection(name).Find(ctx, bson.D{})
		if err != nil {
			return ""
		}
		var all []bson.M
		if err := found.All(ctx, &all); err != nil {
			return ""
		}
		_, _ = fmt.Fprintln(&dump, all)
	}
	return dump.String()
}

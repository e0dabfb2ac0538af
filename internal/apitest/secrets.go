package apitest

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

// Secrets are the passwords and tokens of a test. They must not appear in any log,
// response, metric or stored record (OWASP ASVS 5.0 16.2.5, 16.5.1). The zero value has
// the passwords that all tests use.
type Secrets struct {
	mu     sync.Mutex
	tokens map[string]string // descriptions by token
	raw    map[string]string // descriptions of secrets that are not text
}

// hashPrefix begins a stored password hash.
const hashPrefix = "hs256$2a$"

// commonSecrets are the secrets of every test, with their descriptions.
var commonSecrets = map[string]string{
	Password:             "a password",
	NewPassword:          "a new password",
	"a thief's password": "a rejected password",
	"wrong password":     "a wrong password",
	SessionSecret:        "SESSION_SECRET",
	hashPrefix:           "a password hash",
}

// isSeparator reports whether a character cannot be part of a token in base64url.
func isSeparator(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	digit := '0' <= r && r <= '9'

	return !letter && !digit && r != '-' && r != '_'
}

// Add adds a token to the secrets.
func (s *Secrets) Add(description, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.tokens == nil {
		s.tokens = map[string]string{}
	}

	s.tokens[token] = description
}

// AddRaw adds a secret that may contain any byte.
func (s *Secrets) AddRaw(description, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.raw == nil {
		s.raw = map[string]string{}
	}

	s.raw[secret] = description
}

// Reset forgets all tokens.
func (s *Secrets) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.tokens = nil
	s.raw = nil
}

// In returns the description of a secret that the text contains, or "" if there is none.
func (s *Secrets) In(text string) string {
	for secret, description := range commonSecrets {
		if strings.Contains(text, secret) {
			return description
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	for secret, description := range s.raw {
		if strings.Contains(text, secret) {
			return description
		}
	}
	for candidate := range strings.FieldsFuncSeq(text, isSeparator) {
		if description, ok := s.tokens[candidate]; ok {
			return description
		}
	}

	return ""
}

// unknownLabel matches a metric with a label value that package telemetry does not list.
// Requests may have any value, events inside the server may not.
var unknownLabel = regexp.MustCompile(`(?m)^latchkey_(sessions|logins|limit|mails|redis|mongo).*="other".*`)

// loggedEmail matches an email in the log, which must not contain any.
var loggedEmail = regexp.MustCompile(`[\w.+-]+@[\w-]+\.(com|org|net|example)\b`)

// checkLeaks fails the test if a secret or an email has leaked.
func (s *Server) checkLeaks() {
	metrics := s.exposition()
	for place, text := range map[string]string{
		"the log":     s.Log.String(),
		"the metrics": metrics,
		"Redis":       s.dumpRedis(),
		"MongoDB":     strings.ReplaceAll(s.DumpMongo(), hashPrefix, ""), // where hashes belong
	} {
		if description := s.Secrets.In(text); description != "" {
			s.T.Errorf("%s contains %s", place, description)
		}
	}

	if email := loggedEmail.FindString(s.Log.String()); email != "" {
		s.T.Errorf("the log contains the email %s", email)
	}

	if line := unknownLabel.FindString(metrics); line != "" {
		s.T.Errorf("package telemetry does not list this label value: %s", line)
	}
}

// exposition returns the metrics as Prometheus reads them.
func (s *Server) exposition() string {
	ready := func(context.Context) error { return nil }
	w := httptest.NewRecorder()
	telemetry.Ops(s.metrics, ready, nil, slog.Default()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/metrics", nil))

	return w.Body.String()
}

// Metric returns the value of a time series, or "" if it does not exist.
func (s *Server) Metric(series string) string {
	match := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.*)$`).FindStringSubmatch(s.exposition())
	if match == nil {
		return ""
	}

	return match[1]
}

// dumpRedis returns all keys and values in Redis, or "" if the test has stopped it.
func (s *Server) dumpRedis() string {
	if s.Redis.Cluster != nil || s.Redis.Sentinels != nil {
		return "" // the same code writes the same keys there
	}

	conn, err := redis.Dial("tcp", s.Redis.Addr,
		redis.DialDatabase(s.Redis.DB),
		redis.DialConnectTimeout(time.Second),
		redis.DialReadTimeout(time.Second))
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()

	var dump strings.Builder
	keys, _ := redis.Strings(conn.Do("KEYS", "*"))
	for _, key := range keys {
		value, err := conn.Do("GET", key)
		if err != nil {
			value, err = conn.Do("ZRANGE", key, 0, -1)
		}
		if err != nil {
			value, _ = conn.Do("HGETALL", key)
		}

		fmt.Fprintf(&dump, "%s %s\n", key, value)
	}

	return dump.String()
}

// DumpMongo returns all documents in MongoDB, or "" if the test has stopped it.
func (s *Server) DumpMongo() string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()

	var dump strings.Builder
	for _, name := range []string{"users", "identities", "activity"} {
		var documents []bson.M
		cursor, err := s.DB.Collection(name).Find(ctx, bson.D{})
		if err == nil {
			err = cursor.All(ctx, &documents)
		}
		if err != nil {
			return ""
		}

		fmt.Fprintln(&dump, documents)
	}

	return dump.String()
}

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// getCalls matches the number of GETs in INFO commandstats.
var getCalls = regexp.MustCompile(`cmdstat_get:calls=(\d+)`)

// countGets returns the number of GETs that Redis has run.
func countGets(t *testing.T, conn redis.Conn) int {
	t.Helper()

	info, err := redis.String(conn.Do("INFO", "commandstats"))
	testkit.NoError(t, err)
	match := getCalls.FindStringSubmatch(info)
	if match == nil {
		return 0
	}
	n, err := strconv.Atoi(match[1])
	testkit.NoError(t, err)

	return n
}

// awaitInMemory waits until a server has a session in memory. No other server may use Redis.
func awaitInMemory(t *testing.T, conn redis.Conn, addr, cookie string) {
	t.Helper()

	testkit.Eventually(t, "the session in memory", func() bool {
		before := countGets(t, conn)
		send(t, "GET", "http://"+addr+"/auth/session", "", "Cookie", cookie)

		return countGets(t, conn) == before
	})
}

// With sessions in memory, checks need no command to Redis. With SESSION_CACHE=off each needs one.
func observeSessionCache(t *testing.T, o *observer) {
	const checks = 100
	for value, want := range map[string]bool{"off": false, "2MiB": true} {
		r := storetest.StartRedis(t)
		addr, _, _ := start(t, append(environment(t), "SESSION_CACHE="+value, "REDIS_URI=redis://"+r.Addr))
		conn := r.Conn(t)
		cookie := mustSend(t, http.StatusCreated, "POST", "http://"+addr+"/auth/register", annsAccount).cookie()
		check := func() response { return send(t, "GET", "http://"+addr+"/auth/session", "", "Cookie", cookie) }
		if want {
			awaitInMemory(t, conn, addr, cookie)
		}

		before := countGets(t, conn)
		for range checks {
			check()
		}
		o.equal(t, "SESSION_CACHE", countGets(t, conn)-before < checks/2, want)
	}
}

// A server may show an account from memory for USER_CACHE_MAX_AGE.
func observeUserCache(t *testing.T, o *observer) {
	for maxAge, want := range map[string]bool{"0s": false, "1m": true} {
		r := storetest.StartRedis(t)
		mongoURI := storetest.Mongo(t)
		addr, _, _ := start(t, append(environment(t), "SESSION_CACHE=2MiB", "USER_CACHE_MAX_AGE="+maxAge, "REDIS_URI=redis://"+r.Addr, "MONGODB_URI="+mongoURI))
		cookie := mustSend(t, http.StatusCreated, "POST", "http://"+addr+"/auth/register", annsAccount).cookie()
		me := func() response { return send(t, "GET", "http://"+addr+"/auth/me", "", "Cookie", cookie) }
		awaitInMemory(t, r.Conn(t), addr, cookie)

		users := storetest.Database(t, mongoURI).Collection("users")
		showedOld := false
		for n := range 10 {
			name := fmt.Sprint("Ann ", n)
			_, err := users.UpdateOne(context.Background(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "name", Value: name}}}})
			testkit.NoError(t, err)
			showedOld = showedOld || !strings.Contains(me().text, name)
		}
		o.equal(t, "USER_CACHE_MAX_AGE", showedOld, want)
	}
}

// An operator's command waits for a server that does not respond, and reports it in plain words.
func TestSilentServer(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	mongo := storetest.Mongo(t)
	environ := environment(t, "SESSION_CACHE=2MiB", "REDIS_URI=redis://"+r.Addr, "MONGODB_URI="+mongo)
	addr, _, _ := start(t, environ)
	conn := r.Conn(t)
	for _, args := range [][]string{
		{"users", "disable", "ann@example.com"},
		{"users", "set-password", "ann@example.com"},
		{"users", "delete", "ann@example.com", "--yes"},
		{"sessions", "revoke", "--user", "ann@example.com"},
	} {
		for _, want := range []string{"", "1 server did not respond; waited until sessions in memory could no longer be used\n"} {
			_, err := storetest.Database(t, mongo).Collection("users").DeleteMany(t.Context(), bson.D{})
			testkit.NoError(t, err)
			mustSend(t, http.StatusCreated, "POST", "http://"+addr+"/auth/register", annsAccount)
			if want != "" {
				_, err := conn.Do("HSET", "members", "dead", 1)
				testkit.NoError(t, err)
			}

			messages := &testkit.Buffer{}
			input := strings.NewReader("another long password\n")
			testkit.NoError(t, run(t.Context(), args, environ, stdio{in: input, out: io.Discard, err: messages}))
			if got := messages.String(); got != want {
				t.Errorf("%s: got the messages %q, want %q", strings.Join(args, " "), got, want)
			}
		}
	}
}

// A session that has ended on one server, or by an operator's command, is refused by all servers as
// soon as that has been answered, although they have it in memory.
func TestSessionsInMemoryOfTwoServers(t *testing.T) {
	t.Parallel()

	const rounds = 5
	r := storetest.StartRedis(t)
	environ := append(environment(t), "SESSION_CACHE=2MiB", "REDIS_URI=redis://"+r.Addr)
	var urls []string
	for range 2 {
		addr, _, _ := start(t, environ)
		urls = append(urls, "http://"+addr)
	}
	conn := r.Conn(t)
	testkit.Eventually(t, "both servers to register", func() bool {
		n, err := redis.Int(conn.Do("HLEN", "members"))

		return err == nil && n == len(urls)
	})
	mustSend(t, http.StatusCreated, "POST", urls[0]+"/auth/register", annsAccount)

	checks := 0
	gets := countGets(t, conn)
	for name, end := range map[string]func(cookie string) error{
		"logout": func(cookie string) error {
			_, err := fetch(http.DefaultClient, "POST", urls[0]+"/auth/logout", "", "Cookie", cookie)

			return err
		},
		"operator": func(string) error {
			return run(context.Background(), []string{"sessions", "revoke", "--user", "ann@example.com"}, environ, stdio{out: io.Discard, err: io.Discard})
		},
	} {
		for range rounds {
			cookie := mustSend(t, http.StatusOK, "POST", urls[0]+"/auth/login", annsLogin).cookie()
			for range 10 {
				for _, url := range urls {
					checks++
					if res := send(t, "GET", url+"/auth/session", "", "Cookie", cookie); res.StatusCode != http.StatusOK {
						t.Fatalf("before the end: got %d, want 200", res.StatusCode)
					}
				}
			}

			testkit.NoError(t, end(cookie))
			for _, url := range urls {
				if res := send(t, "GET", url+"/auth/session", "", "Cookie", cookie); res.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s: got %d afterwards, want 401", name, res.StatusCode)
				}
			}
		}
	}

	// Logins and ends also run some, in their scripts.
	if n := countGets(t, conn) - gets; n >= checks {
		t.Errorf("got %d GETs for %d checks, want most checks from memory", n, checks)
	}
}

// A change on a server with USER_CACHE_MAX_AGE=0s shows at once on a server that has the account in
// memory.
func TestUserCacheOffOnOneServer(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	mongoURI := storetest.Mongo(t)
	environ := append(environment(t), "SESSION_CACHE=2MiB", "REDIS_URI=redis://"+r.Addr, "MONGODB_URI="+mongoURI)
	showing, _, _ := start(t, slices.Concat(environ, []string{"USER_CACHE_MAX_AGE=1m"}))
	cookie := mustSend(t, http.StatusCreated, "POST", "http://"+showing+"/auth/register", annsAccount).cookie()
	shows := func(name string) bool {
		return strings.Contains(send(t, "GET", "http://"+showing+"/auth/me", "", "Cookie", cookie).text, name)
	}

	users := storetest.Database(t, mongoURI).Collection("users")
	n := 0
	testkit.Eventually(t, "the account in memory", func() bool {
		n++
		name := fmt.Sprint("Ann ", n)
		_, err := users.UpdateOne(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "name", Value: name}}}})
		testkit.NoError(t, err)

		return !shows(name)
	})

	changing, _, _ := start(t, slices.Concat(environ, []string{"USER_CACHE_MAX_AGE=0s"}))
	res := send(t, "PUT", "http://"+changing+"/profile", `{"name":"Cleo"}`, "Cookie", cookie)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("PUT /profile: got %d, want 200", res.StatusCode)
	}
	if !shows("Cleo") {
		t.Error("the other server still shows the old name")
	}
}

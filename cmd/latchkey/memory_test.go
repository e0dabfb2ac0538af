package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"github.com/gomodule/redigo/redis"

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

// With SESSION_CACHE, session checks need no command to Redis. By default each needs one.
func observeSessionCache(t *testing.T, o *observer) {
	const checks = 100
	for value, want := range map[string]bool{"off": false, "2MiB": true} {
		r := storetest.StartRedis(t)
		addr, _, _ := start(t, append(environment(t), "SESSION_CACHE="+value, "REDIS_URI=redis://"+r.Addr))
		conn := r.Conn(t)
		cookie := mustSend(t, http.StatusCreated, "POST", "http://"+addr+"/auth/register", annsAccount).cookie()
		check := func() int {
			return send(t, "GET", "http://"+addr+"/auth/session", "", "Cookie", cookie).StatusCode
		}

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

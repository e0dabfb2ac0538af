package redischeck

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

func TestMain(m *testing.M) { storetest.Main(m) }

var prefixes = []string{"sess:", "limit:"}

// The probe runs exactly the commands of the other packages. A new command must be added to the probe, and
// to the user in configs/redis.conf.
func TestProbeRunsEveryCommand(t *testing.T) {
	t.Parallel()

	files, err := filepath.Glob("../*/*.go")
	testkit.NoError(t, err)
	used := regexp.MustCompile(`(?:redis\.p?call\(|redis\.Do\(ctx, )['"]([A-Z]+)`)
	var commands []string
	for _, file := range files {
		isOptional := strings.HasPrefix(file, "../coherence/")   // without it, values are not cached
		isDevelopment := strings.HasPrefix(file, "../devstore/") // not in the production program
		if isOptional || isDevelopment || strings.HasSuffix(file, "_test.go") {
			continue
		}

		text, err := os.ReadFile(file)
		testkit.NoError(t, err)
		for _, m := range used.FindAllStringSubmatch(string(text), -1) {
			if m[1] != "TIME" { // in every script
				commands = append(commands, m[1])
			}
		}
	}

	var probed []string
	for _, m := range regexp.MustCompile(`{'([A-Z]+)', key`).FindAllStringSubmatch(probeLua, -1) {
		probed = append(probed, m[1])
	}

	slices.Sort(commands)
	slices.Sort(probed)
	if used, probed := slices.Compact(commands), slices.Compact(probed); !slices.Equal(used, probed) {
		t.Errorf("commands of the probe: got %v, want %v", probed, used)
	}
}

// Both checks succeed on a working Redis, and leave nothing behind.
func TestWorking(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	c := New(conntest.Redis(t, r, redisconn.Options{}), prefixes)

	testkit.NoError(t, c.Ready(context.Background()))
	if failures := c.Probe(context.Background()); failures != nil {
		t.Errorf("got failures %v, want none", failures)
	}

	keys, err := redis.Strings(r.Conn(t).Do("KEYS", "*"))
	if err != nil || len(keys) > 0 {
		t.Errorf("got keys %v, %v; want none", keys, err)
	}
}

// Each failure is found, even if PING works. A full Redis still serves sessions, so it is ready.
func TestFailures(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		commands []string // run by the administrator
		prefixes []string // that fail
		code     string
		text     string // in the error
		ready    bool
	}{
		"replica":              {[]string{"REPLICAOF 127.0.0.1 1"}, prefixes, "READONLY", "replica", false},
		"other keys":           {[]string{"ACL SETUSER u on nopass ~other:* +@all"}, prefixes, "NOPERM", "NOPERM", false},
		"not all keys":         {[]string{"ACL SETUSER u on nopass ~sess:* +@all"}, []string{"limit:"}, "NOPERM", "NOPERM", false},
		"no scripts":           {[]string{"ACL SETUSER u on nopass ~* +@read +@write +@connection"}, prefixes, "NOPERM", "evalsha", false},
		"scripts only by hash": {[]string{"ACL SETUSER u on nopass ~* +@all -eval"}, prefixes, "NOPERM", "eval", false},
		"a missing command":    {[]string{"ACL SETUSER u on nopass ~* +@all -zremrangebyscore"}, prefixes, "NOPERM", "ZREMRANGEBYSCORE", true},
		"reads only":           {[]string{"ACL SETUSER u on nopass ~* +@read +@scripting +@connection +time"}, prefixes, "NOPERM", "SET", false},
		"no memory":            {[]string{"CONFIG SET maxmemory 1mb", "CONFIG SET maxmemory-policy noeviction"}, prefixes, "OOM", "maxmemory", true},
		"too few replicas":     {[]string{"CONFIG SET min-replicas-to-write 1"}, prefixes, "NOREPLICAS", "NOREPLICAS", false},
		"a disabled user":      {[]string{"ACL SETUSER u off"}, prefixes, "WRONGPASS", "WRONGPASS", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := storetest.StartRedis(t)
			admin := server.Conn(t)
			for _, command := range tc.commands {
				words := redis.Args{}.AddFlat(strings.Fields(command))
				_, err := admin.Do(words[0].(string), words[1:]...)
				testkit.NoError(t, err)
				if words[0] == "ACL" {
					server.Username = "u"
					server.Password = "any"
				}
			}

			c := New(conntest.Redis(t, server.Redis, redisconn.Options{}), prefixes)
			if err := c.Ready(context.Background()); (err == nil) != tc.ready || err != nil && !errors.Is(err, redisconn.ErrUnavailable) {
				t.Errorf("ready: got %v, want success: %v", err, tc.ready)
			}

			var failing []string
			for _, f := range c.Probe(context.Background()) {
				failing = append(failing, f.Prefixes...)
				if f.Code != tc.code || !strings.Contains(f.Err.Error(), tc.text) {
					t.Errorf("got code %s and error %v, want %s and %q", f.Code, f.Err, tc.code, tc.text)
				}
			}
			if !slices.Equal(failing, tc.prefixes) {
				t.Errorf("failing prefixes: got %v, want %v", failing, tc.prefixes)
			}
		})
	}
}

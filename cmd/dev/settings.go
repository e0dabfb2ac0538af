package main

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"latchkey/internal/config"
	"latchkey/internal/devstore"
)

// dataDir contains the accounts, a snapshot of Redis, and the secrets that both need. Git ignores it.
const dataDir = ".latchkey-dev"

// snapshotFile is the name of the file in dataDir with the keys in Redis.
const snapshotFile = "redis.json"

// useDevStores starts the stores and points the settings at them, whatever a .env file says.
func useDevStores(vars map[string]string, log *slog.Logger) (stop func(), err error) {
	redis, stopRedis, err := devstore.StartPersistentRedis(filepath.Join(dataDir, snapshotFile), log)
	if err != nil {
		return nil, err
	}

	// FerretDB's log would hide the log of the API.
	mongo, stopMongo, err := devstore.StartMongo(dataDir, slog.New(slog.DiscardHandler))
	if err != nil {
		stopRedis()
		return nil, err
	}

	setStores(vars, redis, mongo)

	return func() { stopMongo(); stopRedis() }, nil
}

// setStores points the settings at a Redis (host:port) and a MongoDB (URI without a database).
func setStores(vars map[string]string, redis, mongo string) {
	for _, name := range []string{
		"REDIS_URI_FILE", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE", "REDIS_DB", "REDIS_TLS",
		"REDIS_SENTINELS", "REDIS_SENTINEL_MASTER", "REDIS_SENTINEL_USERNAME", "REDIS_SENTINEL_PASSWORD", "REDIS_SENTINEL_PASSWORD_FILE",
		"REDIS_CLUSTER", "MONGODB_URI_FILE",
	} {
		delete(vars, name)
	}
	vars["REDIS_URI"] = "redis://" + redis
	vars["MONGODB_URI"] = mongo + "latchkey"
}

// setDefaults sets what differs from production.
func setDefaults(vars map[string]string) {
	for _, name := range []string{"NODE_ENV", "TLS_CERT_FILE", "TLS_KEY_FILE"} {
		delete(vars, name)
	}
	vars["APP_ENV"] = config.Development
	for name, value := range config.DevServer {
		vars[name] = cmp.Or(vars[name], value)
	}
}

// setPublicURL sets the PUBLIC_URL to the URL of the API if it serves the built-in pages, unless it is set.
func setPublicURL(vars map[string]string, host string, port int) {
	if strings.EqualFold(vars["PAGES"], "on") {
		vars["PUBLIC_URL"] = cmp.Or(vars["PUBLIC_URL"], "http://"+net.JoinHostPort(host, strconv.Itoa(port)))
	}
}

// listenAddr returns the host and the port of the API. The host is one that browsers can open.
func listenAddr(vars map[string]string) (host string, port int) {
	host = vars["HOST"]
	port = config.DefaultPort
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if p, err := strconv.Atoi(vars["PORT"]); err == nil {
		port = p
	}

	return host, port
}

// demoPage is where the demo is served. The listener is nil if the port is in use, probably by
// the developer's own page.
type demoPage struct {
	listener net.Listener
	origin   string
}

// listenForDemo opens the port after the API's and lets pages on it call the API. Links in
// emails lead to the demo, which has pages for them.
func listenForDemo(ctx context.Context, vars map[string]string, host string, apiPort int) demoPage {
	port := "0" // any, like the API's
	if apiPort != 0 {
		port = strconv.Itoa(apiPort + 1)
	}

	page := demoPage{origin: "http://" + net.JoinHostPort(host, port)}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(vars["HOST"], port))
	if err == nil {
		page = demoPage{listener: listener, origin: originOf(host, listener.Addr())}
		vars["PUBLIC_URL"] = cmp.Or(vars["PUBLIC_URL"], page.origin)
	}
	vars["FRONTEND_URL"] = joinOrigins(vars["FRONTEND_URL"], page.origin)

	return page
}

// joinOrigins adds an origin to a comma-separated list, unless it is there already.
func joinOrigins(list, origin string) string {
	if slices.Contains(strings.Split(list, ","), origin) {
		return list
	}

	return strings.TrimPrefix(list+","+origin, ",")
}

// originOf returns the origin of pages that are served on addr.
func originOf(host string, addr net.Addr) string {
	_, port, _ := net.SplitHostPort(addr.String())
	return "http://" + net.JoinHostPort(host, port)
}

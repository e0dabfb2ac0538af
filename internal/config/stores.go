package config

import (
	"cmp"
	"net"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"
)

// Default ports of Redis.
const (
	redisPort    = 6379
	sentinelPort = 26379
)

// checkStores checks the settings of MongoDB and Redis.
func (l *loader) checkStores() {
	l.checkMongo()

	l.applyRedisURI()
	l.between("REDIS_PORT", l.Redis.Port, 1, 65535)
	if l.Redis.DB < 0 {
		l.report("REDIS_DB", "must be 0 or more")
	}

	if l.Redis.Timeout < 50*time.Millisecond || l.Redis.Timeout > 10*time.Second {
		l.report("REDIS_TIMEOUT", "must be from 50ms to 10s")
	}

	l.checkRedisServers()
}

func (l *loader) checkMongo() {
	if l.MongoTimeout < 100*time.Millisecond || l.MongoTimeout > 10*time.Second {
		l.report("MONGODB_TIMEOUT", "must be from 100ms to 10s")
	}

	uri := string(l.MongoURI)
	if uri == "" {
		l.report("MONGODB_URI", "required, for example mongodb://localhost:27017/latchkey")
		return
	}
	if strings.HasPrefix(uri, "mongodb+srv://") {
		return // further checks need DNS; connecting will do them
	}

	if _, err := connstring.ParseAndValidate(uri); err != nil {
		// The parser's error may quote the password.
		l.report("MONGODB_URI", "must look like mongodb://user:password@host:27017/database")
	}
}

// applyRedisURI splits REDIS_URI into the other fields.
func (l *loader) applyRedisURI() {
	r := &l.Redis
	if r.URI == "" {
		return
	}

	u, ok := parseURL(string(r.URI), "redis", "rediss")
	if !ok || u.RawQuery != "" {
		l.report("REDIS_URI", "must look like redis://user:password@host:6379/0 or rediss://")
		return
	}

	r.Host = u.Hostname()
	r.Port = redisPort
	if port := u.Port(); port != "" {
		r.Port, _ = strconv.Atoi(port) // parseURL has checked it
	}
	r.TLS = r.TLS || u.Scheme == "rediss"

	r.Username = cmp.Or(u.User.Username(), r.Username)
	password, _ := u.User.Password()
	r.Password = cmp.Or(Secret(password), r.Password)

	if path := strings.Trim(u.Path, "/"); path != "" {
		var err error
		if r.DB, err = strconv.Atoi(path); err != nil {
			l.report("REDIS_URI", "must end in a database number, as in redis://localhost:6379/0")
		}
	}
}

// checkRedisServers checks the settings of Sentinels and clusters.
func (l *loader) checkRedisServers() {
	r := &l.Redis
	l.checkServers("REDIS_SENTINELS", r.Sentinels, sentinelPort)
	l.checkServers("REDIS_CLUSTER", r.Cluster, redisPort)

	if len(r.Sentinels) == 0 && (r.Master != "" || r.SentinelUsername != "" || r.SentinelPassword != "") {
		l.report("REDIS_SENTINELS", "required if another REDIS_SENTINEL_* setting is set")
	}
	r.Master = cmp.Or(r.Master, "mymaster")

	if len(r.Sentinels) > 0 && len(r.Cluster) > 0 {
		l.report("REDIS_CLUSTER", "set either this or REDIS_SENTINELS, not both")
	}
	if len(r.Cluster) > 0 && r.DB != 0 {
		l.report("REDIS_DB", "must be 0 with REDIS_CLUSTER")
	}
}

// checkServers checks a list of servers and adds the default port where it is missing.
func (l *loader) checkServers(setting string, servers []string, port int) {
	if len(servers) > 0 && l.Redis.URI != "" {
		l.report(setting, "set either this or REDIS_URI, not both")
	}

	for i, given := range servers {
		server, ok := hostPort(given, port)
		if !ok {
			l.reportItem(setting, given, "must be hosts like redis-1.example.com:%d, separated by commas", port)
		}
		servers[i] = server
	}
}

// hostPort returns a server as host:port, with the given port as the default.
func hostPort(server string, port int) (string, bool) {
	server = strings.TrimSpace(server)
	host, given, err := net.SplitHostPort(server)
	if err != nil {
		host = strings.Trim(server, "[]")
		given = strconv.Itoa(port)
	}

	n, err := strconv.ParseUint(given, 10, 16)
	if host == "" || strings.ContainsAny(host, "/@ ") || err != nil || n == 0 {
		return server, false
	}

	return net.JoinHostPort(host, given), true
}

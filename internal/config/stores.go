package config

import (
	"cmp"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"

	"latchkey/internal/loopback"
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
	l.Redis.Host = strings.Trim(l.Redis.Host, "[]")
	if !isHost(l.Redis.Host) {
		l.report("REDIS_HOST", "must be a host name or IP; set the port in REDIS_PORT, or a URL in REDIS_URI")
	}
	l.between("REDIS_PORT", l.Redis.Port, 1, 65535)
	if l.Redis.DB < 0 {
		l.report("REDIS_DB", "must be 0 or more")
	}

	if l.Redis.Timeout < 50*time.Millisecond || l.Redis.Timeout > 10*time.Second {
		l.report("REDIS_TIMEOUT", "must be from 50ms to 10s")
	}

	l.checkRedisServers()
}

// percentEncoding explains why a URL with a password may not parse.
const percentEncoding = "in a user or password, write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23 and % as %25"

var (
	// uriPlaceholder matches the <db_password> that MongoDB Atlas shows.
	uriPlaceholder = regexp.MustCompile(`(?i)<[^<>@]*(user|password)[^<>@]*>`)
	// srvOption matches the options that only mongodb+srv has.
	srvOption = regexp.MustCompile(`(?i)srv(MaxHosts|ServiceName)=[^&;]*[&;]?`)
	// optionName matches the names of all options.
	optionName = regexp.MustCompile(`^[A-Za-z]+$`)
	// databaseName matches the names that MongoDB accepts on every system.
	databaseName = regexp.MustCompile(`^[^/\\. "$*<>:|?\x00-\x1f]{0,63}$`)
)

func (l *loader) checkMongo() {
	if l.MongoTimeout < 100*time.Millisecond || l.MongoTimeout > 10*time.Second {
		l.report("MONGODB_TIMEOUT", "must be from 100ms to 10s")
	}

	const name = "MONGODB_URI"
	uri := string(l.MongoURI)
	host, isSRV := strings.CutPrefix(uri, connstring.SchemeMongoDBSRV+"://")
	if isSRV {
		// Parse it as mongodb, which needs no DNS.
		uri = connstring.SchemeMongoDB + "://" + srvOption.ReplaceAllString(host, "")
	}

	parsed, err := connstring.ParseAndValidate(uri)
	switch {
	case uri == "":
		l.report(name, "required, for example mongodb://localhost:27017/latchkey")
	case uriPlaceholder.MatchString(uri):
		l.report(name, "contains a placeholder like <password>; replace it, including the < and >")
	case err != nil:
		l.reportMongoURI(uri)
	case isSRV && (len(parsed.Hosts) > 1 || strings.Contains(parsed.Hosts[0], ":")):
		l.report(name, "must have one host without a port after mongodb+srv://")
	case !databaseName.MatchString(parsed.Database):
		l.report(name, "must end in a database name of up to 63 characters, without spaces, dots or any of / \\ \" $ * < > : | ?")
	case parsed.WNumberSet && parsed.WNumber == 0:
		l.report(name, "must not contain w=0: Latchkey would not learn that an account could not be stored")
	default:
		l.mongo = mongoAccess(parsed, isSRV)
		filesReadable := l.checkMongoFiles(parsed)
		if filesReadable && validateMongoURI(uri) != nil {
			l.reportMongoURI(uri)
		}
	}
}

// validateMongoURI returns the error with which the driver rejects a URI. Unlike the parser, the
// driver checks options such as readPreference, and reads the TLS files.
func validateMongoURI(uri string) error { return options.Client().ApplyURI(uri).Validate() }

// reportMongoURI reports a URI that the driver rejects. It does not use the driver's error, which may
// quote the password.
func (l *loader) reportMongoURI(uri string) {
	const name = "MONGODB_URI"

	if option := rejectedOption(uri); option != "" {
		l.report(name, "the option %s is invalid; correct or remove it", option)
		return
	}

	l.report(name, "must look like mongodb://user:password@host:27017/database; %s", percentEncoding)
}

// rejectedOption returns the name of the option without which the driver accepts a URI, or "" if there
// is none.
func rejectedOption(uri string) string {
	base, query, _ := strings.Cut(uri, "?")
	given := strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })

	for i, option := range given {
		name, _, _ := strings.Cut(option, "=")
		others := slices.Concat(given[:i], given[i+1:])
		if isMongoOption(name) && validateMongoURI(base+"?"+strings.Join(others, "&")) == nil {
			return name
		}
	}

	return ""
}

// isMongoOption reports whether the driver has an option with this name. A name of another kind may
// be a part of the password, if that contains a question mark.
func isMongoOption(name string) bool {
	if !optionName.MatchString(name) {
		return false
	}

	parsed, err := connstring.Parse(connstring.SchemeMongoDB + "://localhost/?" + name + "=x")

	return err != nil || len(parsed.UnknownOptions) == 0
}

// access describes the connection to a store: what protects it from others on the network.
type access struct {
	remote     bool // on another machine, as far as the settings show
	encrypted  bool
	unverified bool // any certificate is accepted
	password   bool // or a client certificate
}

// mongoAccess describes the connection to MongoDB. With mongodb+srv, TLS is the default.
func mongoAccess(parsed *connstring.ConnString, isSRV bool) access {
	a := access{
		remote:     isSRV,
		encrypted:  parsed.SSL || isSRV && !parsed.SSLSet,
		unverified: parsed.SSLInsecure,
		password:   parsed.Username != "" || parsed.AuthMechanism != "",
	}
	for _, server := range parsed.Hosts {
		isSocket := strings.HasSuffix(server, ".sock")
		a.remote = a.remote || !isSocket && isRemote(server)
	}

	return a
}

// access describes the connection to Redis.
func (r Redis) access() access {
	servers := []string{r.Addr()}
	if len(r.Sentinels)+len(r.Cluster) > 0 {
		servers = slices.Concat(r.Sentinels, r.Cluster)
	}

	return access{
		remote:    slices.ContainsFunc(servers, isRemote),
		encrypted: r.TLS,
		password:  r.Password != "",
	}
}

// isRemote reports whether a server, with or without a port, is on another machine.
func isRemote(server string) bool {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		host = server
	}

	return !loopback.Host(host)
}

// checkMongoFiles checks the TLS files in a MongoDB URI, and reports whether they can be read.
func (l *loader) checkMongoFiles(parsed *connstring.ConnString) (readable bool) {
	readable = true
	for _, path := range []string{
		parsed.SSLCaFile,
		parsed.SSLClientCertificateKeyFile,
		parsed.SSLCertificateFile,
		parsed.SSLPrivateKeyFile,
	} {
		if path == "" {
			continue
		}
		if _, err := os.ReadFile(path); err != nil {
			l.report("MONGODB_URI", "cannot read a TLS file: %v", err)
			readable = false
		}
	}

	l.checkMode("MONGODB_URI", parsed.SSLClientCertificateKeyFile)
	l.checkMode("MONGODB_URI", parsed.SSLPrivateKeyFile)

	return readable
}

// applyRedisURI splits REDIS_URI into the other fields.
func (l *loader) applyRedisURI() {
	const name = "REDIS_URI"
	uri := string(l.Redis.URI)
	u, ok := parseURL(uri, "redis", "rediss")
	switch {
	case uri == "":
	case strings.ContainsAny(uri, "?#"):
		l.report(name, "must not have parameters such as ?family=0; %s", percentEncoding)
	case strings.Contains(uri[strings.LastIndex(uri, "@")+1:], ","):
		l.report(name, "must have one host; list several servers in REDIS_SENTINELS or REDIS_CLUSTER")
	case !ok || u.Port() != "" && strings.Trim(u.Port(), "0") == "":
		l.report(name, "must look like redis://user:password@host:6379/0 or rediss://; %s", percentEncoding)
	default:
		l.takeRedisURL(u)
	}
}

// takeRedisURL overrides the fields that the URL mentions.
func (l *loader) takeRedisURL(u *url.URL) {
	r := &l.Redis
	r.Host = u.Hostname()
	r.Port = redisPort
	if port := u.Port(); port != "" {
		r.Port, _ = strconv.Atoi(port) // parseURL has checked it
	}
	r.TLS = r.TLS || u.Scheme == "rediss"

	r.Username = cmp.Or(u.User.Username(), r.Username)
	password, _ := u.User.Password()
	r.Password = cmp.Or(Secret(password), r.Password)

	path := strings.Trim(u.Path, "/")
	if path == "" {
		return
	}

	db, err := strconv.ParseUint(path, 10, 31)
	if err != nil {
		l.report("REDIS_URI", "must end in a database number, as in redis://localhost:6379/0")
		return
	}
	r.DB = int(db)
}

// checkRedisServers checks the settings of Sentinels and clusters.
func (l *loader) checkRedisServers() {
	r := &l.Redis
	r.Sentinels = l.servers("REDIS_SENTINELS", r.Sentinels, sentinelPort)
	r.Cluster = l.servers("REDIS_CLUSTER", r.Cluster, redisPort)

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

// servers checks a list of servers and adds the default port where it is missing.
func (l *loader) servers(setting string, given []string, port int) []string {
	servers := entries(given)
	if len(servers) > 0 && l.Redis.URI != "" {
		l.report(setting, "set either this or REDIS_URI, not both")
	}

	for i, entry := range servers {
		server, ok := hostPort(entry, port)
		if !ok {
			l.reportItem(setting, entry, "must be hosts like redis-1.example.com:%d, separated by commas", port)
		}
		servers[i] = server
	}

	return servers
}

// hostPort returns a server as host:port, with the given port as the default.
func hostPort(server string, port int) (string, bool) {
	host, given, err := net.SplitHostPort(server)
	if err != nil {
		host = strings.Trim(server, "[]")
		given = strconv.Itoa(port)
	}

	n, err := strconv.ParseUint(given, 10, 16)
	if !isHost(host) || err != nil || n == 0 {
		return server, false
	}

	return net.JoinHostPort(host, given), true
}

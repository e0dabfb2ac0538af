package doctor

import (
	"strconv"
	"strings"
)

// Redis is what a Redis server reports about persistence and eviction.
type Redis struct {
	Addr       string
	Err        error  // set if the server cannot be reached or refuses PING
	Code       string // of the reply in Err, such as LOADING; empty if there was none
	Unknown    bool   // the server refused INFO; the fields below mean nothing
	AppendOnly bool   // persists every write
	Snapshots  bool   // persists from time to time
	Policy     string // maxmemory-policy
	MaxMemory  int64  // in bytes; 0 means no limit
}

// NewRedis reads the reply of a server to INFO, or "" if it refused.
func NewRedis(addr, info string, snapshots bool) Redis {
	field := func(name string) string {
		_, rest, _ := strings.Cut(info, "\n"+name+":")
		value, _, _ := strings.Cut(rest, "\r")

		return value
	}

	r := Redis{
		Addr:       addr,
		Unknown:    field("aof_enabled") == "",
		AppendOnly: field("aof_enabled") == "1",
		Snapshots:  snapshots,
		Policy:     field("maxmemory_policy"),
	}
	r.MaxMemory, _ = strconv.ParseInt(field("maxmemory"), 10, 64)

	return r
}

// Check judges the server.
func (r Redis) Check() []Finding {
	var f findings

	subject := strings.TrimSpace("Redis " + r.Addr)
	switch {
	case r.Err != nil && r.Code == "":
		f.problem(subject, RedisFix(r.Code, r.Err), "cannot be reached: %v", r.Err)
		return f
	case r.Err != nil:
		f.problem(subject, RedisFix(r.Code, r.Err), "refuses commands: %v", r.Err)
		return f
	}
	if r.Unknown {
		f.warning(subject, "allow the user to run INFO: +info, as in configs/redis.conf",
			"persistence and eviction are unknown, because INFO is not permitted")
		return f
	}

	r.checkPersistence(&f, subject)
	r.checkEviction(&f, subject)

	return f
}

func (r Redis) checkPersistence(f *findings, subject string) {
	const fix = "set appendonly yes, as in configs/redis.conf"

	switch {
	case r.AppendOnly:
		f.ok(subject, "sessions survive a restart (append-only file)")
	case r.Snapshots:
		f.warning(subject, fix, "a crash loses logins and undoes logouts since the last snapshot")
	default:
		f.problem(subject, fix, "nothing is persisted: a restart logs everyone out")
	}
}

func (r Redis) checkEviction(f *findings, subject string) {
	const fix = "set maxmemory-policy noeviction, as in configs/redis.conf"

	evicts := r.Policy != "" && r.Policy != "noeviction"
	switch {
	case evicts && r.MaxMemory > 0:
		f.problem(subject, fix, "once %d MiB are full, sessions are evicted at random (%s)", r.MaxMemory>>20, r.Policy)
	case evicts:
		f.warning(subject, fix, "with a memory limit, sessions would be evicted at random (%s)", r.Policy)
	case r.Policy != "":
		f.ok(subject, "sessions are never evicted")
	}
}

// RedisFix returns what to change if Redis replies with an error. code is the code in the reply, which is
// empty if Redis does not reply.
func RedisFix(code string, err error) string {
	fixes := map[string]string{
		"":           "check REDIS_HOST, REDIS_PORT and REDIS_PASSWORD, or the settings that you use instead",
		"READONLY":   "set REDIS_HOST and REDIS_PORT, or the settings that you use instead, to the primary: this is a replica",
		"MASTERDOWN": "set REDIS_HOST and REDIS_PORT, or the settings that you use instead, to the primary: this is a replica",
		"NOPERM":     "grant the user the permissions listed in configs/redis.conf",
		"NOAUTH":     "set REDIS_PASSWORD, and REDIS_USERNAME for a user other than default",
		"WRONGPASS":  "check REDIS_USERNAME and REDIS_PASSWORD, and that the user is on",
		"OOM":        "raise maxmemory, or move other data to another Redis",
		"MISCONF":    "see the Redis log: Redis cannot write to its disk, which may be full",
		"NOREPLICAS": "start the replicas, or lower min-replicas-to-write",
		"LOADING":    "wait until Redis has loaded its data",
		"BUSY":       "wait until the script of another client ends, or run SCRIPT KILL",
	}

	if fix, ok := fixes[code]; ok {
		return fix
	}

	// Redis has no codes for these.
	text := err.Error()
	switch {
	case strings.Contains(text, "DB index is out of range"):
		return "lower REDIS_DB, or raise the number of databases in the configuration of Redis"
	case strings.Contains(text, "without any password configured"):
		return "unset REDIS_PASSWORD, or give the Redis user a password"
	}

	return "see the Redis log; Latchkey needs Redis 6.2 or later"
}

// RedisKeys is the result of writing, reading and deleting keys in Redis.
type RedisKeys struct {
	Err      error    // why that failed
	Code     string   // of the reply in Err, such as NOPERM; empty if there was none
	Prefixes []string // of the keys
}

// Check judges the result.
func (k RedisKeys) Check() []Finding {
	const subject = "Redis"

	var f findings
	if k.Err == nil {
		f.ok(subject, "keys can be written, read and deleted")
	} else {
		f.problem(subject, RedisFix(k.Code, k.Err), "nobody can log in, because the keys %s* cannot be used: %v", strings.Join(k.Prefixes, "*, "), k.Err)
	}

	return f
}

// SessionCache is the result of checking whether a Redis server lets Latchkey keep sessions in memory.
type SessionCache struct {
	Addr string
	Err  error  // why not, or nil
	Code string // of the reply in Err, such as NOPERM; empty if there was none
}

// Check judges the result. Without sessions in memory, everything works, but more slowly.
func (c SessionCache) Check() []Finding {
	subject := strings.TrimSpace("Redis " + c.Addr)

	var f findings
	if c.Err == nil {
		f.ok(subject, "sessions can be kept in memory")
	} else {
		f.warning(subject, c.fix(), "sessions cannot be kept in memory, so every check reads Redis, and a logout takes a quarter of a second: %v", c.Err)
	}

	return f
}

func (c SessionCache) fix() string {
	switch c.Code {
	case "NOPERM":
		return RedisFix(c.Code, c.Err) + ", or set SESSION_CACHE=off on all servers"
	case "", "ERR": // not a failed connection, because Redis has replied to PING
		return "set SESSION_CACHE=off on all servers, or connect to a Redis that allows CLIENT TRACKING and pub/sub; " +
			"some proxies and managed services do not"
	}

	return RedisFix(c.Code, c.Err)
}

const mongoSubject = "MongoDB"

// MongoDown judges the error of reaching MongoDB.
func MongoDown(err error) []Finding {
	var f findings
	f.problem(mongoSubject, "check MONGODB_URI", "cannot be reached: %v", err)

	return f
}

// MongoWrites judges the error of creating, changing and deleting an account. fix is what to do about it.
func MongoWrites(err error, fix string) []Finding {
	var f findings
	if err != nil {
		f.problem(mongoSubject, fix, "creating, changing and deleting an account failed: %v", err)
	} else {
		f.ok(mongoSubject, "accounts can be created, changed and deleted")
	}

	return f
}

// Index is a unique index in MongoDB.
type Index struct {
	Name    string // such as "on emails"
	Without string // what does not work without it
	Err     error  // of creating it, if it was missing
	Fix     string // what to do about Err
}

// Check judges the index.
func (i Index) Check() []Finding {
	var f findings
	if i.Err != nil {
		f.problem(mongoSubject, i.Fix, "%s, because the unique index %s cannot be created: %v", i.Without, i.Name, i.Err)
	} else {
		f.ok(mongoSubject, "the unique index %s exists", i.Name)
	}

	return f
}

// Emails describes stored emails that are not in the form in which Latchkey stores them.
type Emails struct {
	Err     error    // of reading them
	Strays  []string // IDs of accounts whose email has another spelling
	Invalid []string // IDs of accounts whose email is not supported
}

// Check judges the emails.
func (e Emails) Check() []Finding {
	var f findings
	if e.Err != nil {
		f.warning(mongoSubject, "run latchkey doctor again", "the spelling of stored emails is unknown: %v", e.Err)
	}
	if n := len(e.Strays); n > 0 {
		f.warning(mongoSubject, "start the server, which makes emails canonical; if the account is still listed afterwards, "+
			"another account has the same email: delete one of them",
			"accounts whose email is stored in another spelling, such as with upper case, cannot log in: %d, for example %s", n, e.Strays[0])
	}
	if n := len(e.Invalid); n > 0 {
		f.warning(mongoSubject, "change the email in MongoDB, or delete the account",
			"accounts whose email has an unsupported form cannot log in with it: %d, for example %s", n, e.Invalid[0])
	}

	return f
}

// Mail judges the error of connecting to the SMTP server, if one is configured.
func Mail(configured bool, err error) []Finding {
	const subject = "Email"

	var f findings
	switch {
	case !configured:
		f.warning(subject, "set SMTP_URL and MAIL_FROM",
			"no email is sent: nobody can reset a password or verify an email address")
	case err != nil:
		f.problem(subject, "check SMTP_URL, and set SMTP_HELO_NAME if the server rejects EHLO; unsent emails wait in Redis for three days",
			"cannot be sent: %v", err)
	default:
		f.ok(subject, "the SMTP server accepts our login")
	}

	return f
}

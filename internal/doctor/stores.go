package doctor

import (
	"strconv"
	"strings"
)

// Redis is what a Redis server reports about persistence and eviction.
type Redis struct {
	Addr       string
	Err        error  // set if the server cannot be reached
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
	if r.Err != nil {
		f.problem(subject, "check REDIS_HOST, REDIS_PORT and REDIS_PASSWORD, or the settings that you use instead",
			"cannot be reached: %v", r.Err)
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

// Mongo judges the errors of reaching MongoDB and of creating the unique index on emails.
func Mongo(pingErr, indexErr error) []Finding {
	const subject = "MongoDB"

	var f findings
	switch {
	case pingErr != nil:
		f.problem(subject, "check MONGODB_URI", "cannot be reached: %v", pingErr)
	case indexErr != nil:
		f.problem(subject, "remove accounts with duplicate emails, and allow the user to create indexes",
			"nobody can register, because the unique index on emails cannot be created: %v", indexErr)
	default:
		f.ok(subject, "the unique index on emails exists")
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
		f.problem(subject, "check SMTP_URL; unsent emails wait in Redis for three days", "cannot be sent: %v", err)
	default:
		f.ok(subject, "the SMTP server accepts our login")
	}

	return f
}

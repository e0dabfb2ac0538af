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

const mongoSubject = "MongoDB"

// MongoDown judges the error of reaching MongoDB.
func MongoDown(err error) []Finding {
	var f findings
	f.problem(mongoSubject, "check MONGODB_URI", "cannot be reached: %v", err)

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
		f.problem(subject, "check SMTP_URL, and set SMTP_HELO_NAME if the reply is to EHLO; unsent emails wait in Redis for three days",
			"cannot be sent: %v", err)
	default:
		f.ok(subject, "the SMTP server accepts our login")
	}

	return f
}

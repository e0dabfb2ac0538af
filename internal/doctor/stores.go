package doctor

import "strings"

// Redis is what a Redis says of itself.
type Redis struct {
	Addr   string
	Err    error // it does not answer
	Untold bool  // it answers, and does not say
	// AppendOnly and Snapshots are the two ways in which it persists.
	AppendOnly, Snapshots bool
	Policy                string // maxmemory-policy
	MaxMemory             int64  // bytes; 0 is no limit
}

// Check judges it.
func (r Redis) Check() []Finding {
	var f findings
	about := strings.TrimSpace("Redis " + r.Addr)
	if r.Untold {
		f.risk(about, "let the user ask INFO: +info, as in configs/redis.conf", "does not say what it keeps")
		return f
	}
	if r.Err != nil {
		f.fault(about, "see REDIS_HOST, REDIS_PORT, REDIS_PASSWORD or what stands in their place", "does not answer: %v", r.Err)
		return f
	}
	switch {
	case r.AppendOnly:
		f.fine(about, "keeps every session across a restart (append-only file)")
	case r.Snapshots:
		f.risk(about, "appendonly yes, as in configs/redis.conf", "keeps snapshots only: a crash loses the sessions and the logouts since the last one")
	default:
		f.fault(about, "appendonly yes, as in configs/redis.conf", "keeps nothing: a restart logs everyone out")
	}
	switch evicts := r.Policy != "" && r.Policy != "noeviction"; {
	case evicts && r.MaxMemory > 0:
		f.fault(about, "maxmemory-policy noeviction, as in configs/redis.conf", "has a limit of %d MiB and %s: when it is full it logs people out at random", r.MaxMemory>>20, r.Policy)
	case evicts:
		f.risk(about, "maxmemory-policy noeviction, as in configs/redis.conf", "has the policy %s: once it is given a limit, it will log people out at random", r.Policy)
	case r.Policy != "":
		f.fine(about, "does not throw sessions away when it is full")
	}
	return f
}

// Mongo judges what MongoDB said when it was asked whether it is there, and for the
// index of the addresses.
func Mongo(there, index error) []Finding {
	var f findings
	switch {
	case there != nil:
		f.fault("MongoDB", "see MONGODB_URI", "does not answer: %v", there)
	case index != nil:
		f.fault("MongoDB", "see that no two accounts have one address, and that the user may make an index", "the unique index on the addresses cannot be had, so nobody can register: %v", index)
	default:
		f.fine("MongoDB", "has the unique index on the addresses")
	}
	return f
}

// Mail judges what the mail server said when it was greeted; without one configured is
// false.
func Mail(configured bool, err error) []Finding {
	var f findings
	switch {
	case !configured:
		f.risk("Mail", "SMTP_URL and MAIL_FROM", "is not sent: nobody can reset a password or verify an address")
	case err != nil:
		f.fault("Mail", "see SMTP_URL; what was to be sent waits in Redis for three days", "cannot be sent: %v", err)
	default:
		f.fine("Mail", "is taken by the mail server")
	}
	return f
}

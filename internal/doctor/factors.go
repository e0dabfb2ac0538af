package doctor

import (
	"strings"
	"time"
)

const factorsSubject = "Second factors"

// Factors describes whether the authenticator apps of users work. It is based on a sample of accounts.
type Factors struct {
	Configured    bool   // DATA_KEY is set
	Err           error  // of reading the accounts
	Seeds         int    // secrets of authenticator apps in the sample
	Undecryptable int    // those that no key in DATA_KEY decrypts
	Damaged       bool   // the undecryptable ones need no other key
	Keys          string // the IDs of the keys in DATA_KEY, and of those that are missing
}

// Check judges the authenticator apps.
func (s Factors) Check() []Finding {
	var f findings
	switch {
	case s.Err != nil:
		f.warning(factorsSubject, "run latchkey doctor again", "it is unknown whether authenticator apps work: %v", s.Err)
	case s.Undecryptable > 0:
		fix := "add the old key to the end of DATA_KEY; users can log in with a recovery code until then"
		if s.Damaged && s.Configured {
			fix = "run latchkey users reset-factors for the accounts that latchkey rekey lists"
		}

		f.problem(factorsSubject, fix,
			"secrets of authenticator apps that cannot be decrypted, so their codes are not accepted: %d of a sample of %d; %s",
			s.Undecryptable, s.Seeds, s.Keys)
	case !s.Configured:
		f.warning(factorsSubject, "set DATA_KEY to the output of openssl rand -base64 32, and keep a copy of it",
			"nobody can set up an authenticator app, because DATA_KEY is not set")
	default:
		f.ok(factorsSubject, "authenticator apps can be set up; secrets that were decrypted: %d", s.Seeds)
	}

	return f
}

// maxClockSkew is the greatest difference between two clocks with which the codes of authenticator apps still
// work reliably. A code is accepted for 30 seconds before and after its time.
const maxClockSkew = 20 * time.Second

// Clock is the difference between the clocks of Redis and of this machine.
type Clock struct {
	Addr string        // of the Redis server
	Skew time.Duration // how far the clock of Redis is ahead
}

// Check judges the clocks. Redis is only a witness: either clock can be wrong.
func (c Clock) Check() []Finding {
	subject := strings.TrimSpace("Redis " + c.Addr)

	var f findings
	if c.Skew.Abs() <= maxClockSkew {
		f.ok(subject, "its clock agrees with ours")
		return f
	}

	direction := "ahead of"
	if c.Skew < 0 {
		direction = "behind"
	}
	f.warning(subject, "synchronize the clock that is wrong (chrony, systemd-timesyncd)",
		"its clock is %s %s ours: if ours is wrong, the codes of authenticator apps are rejected", c.Skew.Abs().Round(time.Second), direction)

	return f
}

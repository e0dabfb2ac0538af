package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// audit reads with every token and lists all sessions at the end of a history. Redis must
// then hold exactly what the model knows.
func (p *player) audit() string {
	if problem := p.endOutage(); problem != "" {
		return problem
	}

	p.cookies = noCookies
	for range 2 { // the second time everything is known
		for i := range p.w.tokens {
			for _, kind := range []string{"session", "list"} {
				p.cookies[0] = i
				if problem := p.perform(step{kind: kind, seed: uint64(i)}); problem != "" {
					return problem
				}
			}
		}

		if !slices.ContainsFunc(p.w.tokens, func(k token) bool { return k.alive == maybe }) {
			break
		}
	}

	return p.auditRedisAndLogs()
}

// auditRedisAndLogs compares the sessions in Redis with those of the model, checks that no account has
// too many, and looks for secrets in the logs.
func (p *player) auditRedisAndLogs() string {
	keys, err := redis.Strings(p.redis.Do("KEYS", "sess:*"))
	if err != nil {
		return err.Error()
	}

	now := p.since(p.now())
	unknown := 0
	for _, key := range keys {
		i := p.w.byID(strings.TrimPrefix(key, "sess:"))
		switch {
		case i < 0:
			unknown++
		case p.w.tokens[i].alive == no && now.before(earlier(p.w.timeouts(i))): // timed-out sessions may remain in Redis for a while
			return fmt.Sprintf("token %d has ended, but is still in Redis", i)
		}
	}

	maxUnknown := p.w.orphans
	for i, account := range p.w.accounts {
		maxUnknown += account.lostTokens
		if n := len(p.w.tokensOf(i, -1)); p.w.cap > 0 && n > p.w.cap {
			return fmt.Sprintf("live sessions: got %d, want at most %d", n, p.w.cap)
		}
	}

	if unknown > maxUnknown {
		return fmt.Sprintf("unknown sessions in Redis: got %d, want at most %d", unknown, maxUnknown)
	}

	for _, s := range p.servers {
		if description := s.Secrets.In(s.Log.String()); description != "" {
			return "the log contains " + description
		}
	}

	return ""
}

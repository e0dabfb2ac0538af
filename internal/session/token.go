package session

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"

	"latchkey/internal/token"
)

// shardLen is the length of a shard: two characters of base64url, 12 bits.
//
// A request carries only its token, but a script must reach both the session and the index
// of its user, which must be on the same server of a Redis Cluster. So tokens and session
// IDs start with a shard that is derived from the user ID. The other 244 bits of a token are
// random; OWASP ASVS 5.0 7.2.3 requires 128.
const shardLen = 2

// idLen is the length of a session ID: a shard and a SHA-256 hash in base64url.
const idLen = shardLen + 43

// shardOf returns the shard of a user's sessions.
func shardOf(userID string) string {
	sum := sha256.Sum256([]byte(userID))
	return base64.RawURLEncoding.EncodeToString(sum[:3])[:shardLen]
}

// newToken returns a random token for a session cookie.
func newToken(shard string) string { return shard + token.New()[shardLen:] }

// IsToken reports whether t has the form of a session token. No other input may reach Redis,
// where it could name any key.
func IsToken(t string) bool { return token.Valid(t) }

// IDOf returns the session ID for a token, or "" if the token is malformed. The ID
// identifies the session in Redis and in the API. It is not secret, because the token cannot
// be derived from it. A plain hash is enough for that: the token has 244 random bits.
func IDOf(t string) string {
	if !IsToken(t) {
		return ""
	}

	id := make([]byte, 0, idLen) // one allocation, because every request needs this
	id = append(id, t[:shardLen]...)

	return string(token.AppendHash(id, t))
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{45}$`)

// IsID reports whether id has the form of a session ID.
func IsID(id string) bool { return idPattern.MatchString(id) }

package session

import (
	"encoding/base64"
	"strings"
)

// keys builds the names of the keys in Redis:
//
//	sess:<session ID>      the record of a session, see record.go. It outlives the
//	                       session by tombstoneTTL, so that the reason of a timeout
//	                       can still be reported.
//	ended:<session ID>     the tombstone of an ended session, see reason.go.
//	idx:<user ID>          a user's index: the IDs of the user's records, sorted by
//	                       expiry time (microseconds on Redis's clock).
//	generation:<user ID>   when all of the user's sessions were last revoked, on the
//	                       same clock, the ID of that revocation and the number of
//	                       sessions that it ended.
//	generation             when the sessions of all users were last revoked.
//
// On a Redis Cluster the shard is a hash tag: sess:{t4}..., idx:{t4}<user ID> and
// generation:{t4}<user ID>. The global generation then has a copy in every shard,
// generation:{t4}, so that the scripts that begin and rotate sessions can read it.
type keys struct{ cluster bool }

const recordPrefix = "sess:"

// recordPattern matches the keys of all records.
const recordPattern = recordPrefix + "*"

// KeyPrefixes returns the prefixes of all keys.
func KeyPrefixes() []string { return []string{recordPrefix, "ended:", "idx:", "generation:"} }

// CachedPrefixes returns the prefixes of the keys whose values Options.Cache keeps.
func CachedPrefixes() []string { return []string{recordPrefix} }

func (k keys) record(id string) string         { return recordPrefix + k.tagSession(id) }
func (k keys) tombstone(id string) string      { return "ended:" + k.tagSession(id) }
func (k keys) index(userID string) string      { return "idx:" + k.tagUser(userID) }
func (k keys) generation(userID string) string { return "generation:" + k.tagUser(userID) }

// tagSession returns a session ID with its shard as the hash tag.
func (k keys) tagSession(id string) string {
	if !k.cluster {
		return id
	}
	return "{" + id[:shardLen] + "}" + id[shardLen:]
}

// tagUser returns a user ID with the user's shard as the hash tag.
func (k keys) tagUser(userID string) string {
	if !k.cluster {
		return userID
	}
	return "{" + shardOf(userID) + "}" + userID
}

// globalGeneration returns the key of a shard's copy of the global generation.
func (k keys) globalGeneration(shard string) string {
	if !k.cluster {
		return "generation"
	}
	return "generation:{" + shard + "}"
}

// globalGenerations returns the keys of all copies of the global generation.
func (k keys) globalGenerations() []string {
	if !k.cluster {
		return []string{k.globalGeneration("")}
	}

	const shards = 1 << 12
	all := make([]string, 0, shards)

	for shard := range shards {
		encoded := base64.RawURLEncoding.EncodeToString([]byte{byte(shard >> 4), byte(shard << 4), 0})
		all = append(all, k.globalGeneration(encoded[:shardLen]))
	}

	return all
}

// idOf returns the session ID in the key of a record, or "" if key is something else.
func (k keys) idOf(key string) string {
	id := strings.TrimPrefix(key, recordPrefix)
	if k.cluster {
		id = strings.NewReplacer("{", "", "}", "").Replace(id)
	}

	if !IsID(id) {
		return ""
	}

	return id
}

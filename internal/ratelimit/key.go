package ratelimit

import (
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
)

const (
	// maxKey bounds a key in Redis, in bytes: part of it may be what a client sent.
	maxKey = 128
	// maxAddress bounds what AddressKey makes of something that is no address.
	maxAddress = 64
)

// What is in Redis:
//
//	limit:{<key>}   when the whole budget of key will be back; its TTL is the time
//	                until then; an r follows where the last event was refused
//
// A key that is long or would be no pleasure to read in redis-cli, or whose braces
// would choose the slot of a cluster, goes by its hash.
func redisKey(key string) string {
	if !plain(key) {
		key = "sha256:" + hashed(key)
	}
	return "limit:{" + key + "}"
}

func plain(key string) bool {
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' || c == '{' || c == '}' {
			return false
		}
	}
	return key != "" && len(key) <= maxKey
}

// AddressKey names the client at an IP address. One of IPv6 goes by its /64 prefix:
// that is the least that one customer gets, with 2^64 addresses to try from; who has
// more counts as more clients. An IPv4 address that
// is written as one of IPv6 is the IPv4 address, and a zone is dropped. What is no
// address is itself, up to 64 bytes.
func AddressKey(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip[:min(len(ip), maxAddress)]
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return prefix.String()
}

// AccountKey names the account of an email address, in its canonical form, so that no
// address stands in a key's name, where logs and monitoring of Redis show it. It is no
// secret all the same: who knows the address can make the key.
func AccountKey(email string) string { return hashed(email) }

// hashed is SHA-256 in unpadded base64url.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

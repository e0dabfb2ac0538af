// Package datakey encrypts small secrets that are stored in the database, such as the seeds of
// authenticator apps, so that a leaked database alone does not reveal them.
//
// It owns the keys, which it derives from DATA_KEY, and the form of an encrypted value. The first
// key encrypts and all keys decrypt, so that a key can be replaced: Keyring.Open reports which
// values have to be encrypted again. The package does not know what it encrypts and stores
// nothing: that is up to its callers.
//
// Every value is bound to a context, which names its place in the database. So an attacker with
// write access to the database cannot copy a value to another account.
//
// Start reading at Keyring.
package datakey

// Package user owns the accounts: what a User is, what an Email address is, and
// the collection in MongoDB that keeps them.
//
// The collection and its fields are those of the NestJS guide (users: name,
// email, password, isActive, lastLogin, createdAt, updatedAt), so a database
// that the guide's app filled is used as it is.
//
// The package stores a password hash and knows nothing about it: package auth
// makes and checks them, and the one-time tokens of which it keeps the hashes
// (ticket.go). Queries are kept plain, so that every server of the MongoDB wire
// protocol answers them alike.
//
// Start reading at User in user.go, then Store in store.go.
package user

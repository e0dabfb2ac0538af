// Package user owns the accounts: what a User and an Email are, the collections in MongoDB
// that store them, the external accounts linked to them, the invitations, and the hashes of
// one-time tokens.
//
// The collection "users" has the fields of the NestJS guide that Latchkey reimplements: name,
// email, password, isActive, lastLogin, createdAt and updatedAt. A database that the guide's
// app has filled can be used without a migration.
//
// The package stores password hashes and token hashes but never creates or checks one: that
// is up to package auth. It uses only simple queries, so that it works with every server that
// speaks the MongoDB wire protocol. Package mongoconn owns the connections.
//
// Start reading at User in user.go, then Store in store.go. The other files:
//
//   - token.go has the one-time tokens.
//   - security.go has the generations of known devices and the number of wrong passwords.
//   - factor.go has the second factors, recovery codes and trusted devices.
//   - snapshot.go keeps accounts in memory, to show them to their owners.
//   - identity.go and link.go have the external accounts.
//   - invitation.go has the invitations to register.
//   - expiry.go deletes accounts whose email was never verified.
//   - decode.go, index.go and spelling.go cope with what other applications have left in the collection.
package user

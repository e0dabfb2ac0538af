// Package mailtest has an SMTP server for tests. It stores the emails that it accepts,
// and fails at any step of a conversation on demand.
//
// It offers TLS, STARTTLS, and logins by PLAIN, LOGIN and SCRAM-SHA-256. For a broken
// network, put a storetest.Proxy in front of it.
package mailtest

// Package mailtest provides an SMTP server for tests. The server stores the emails that it
// accepts, and fails at any step of a conversation on demand.
//
// It supports TLS, STARTTLS, and logins with PLAIN, LOGIN and SCRAM-SHA-256. To simulate a
// broken network, put a storetest.Proxy in front of it.
package mailtest

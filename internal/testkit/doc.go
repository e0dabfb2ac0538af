// Package testkit has the small helpers that the tests of several packages share:
// waiting for a condition, releasing many goroutines at once, a buffer that is safe for
// concurrent use, free ports, programs that a test runs, and a check of random values.
//
// It knows nothing about Latchkey. Stores for tests are in devstore/storetest, a whole
// server and its client in apitest, a mail server in mail/mailtest.
package testkit

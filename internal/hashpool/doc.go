// Package hashpool hashes passwords and verifies them against stored hashes. It does so on
// dedicated low-priority threads behind bounded queues, so that a flood of logins slows
// down only registrations and logins on unknown devices.
//
// It owns the format and the bcrypt cost of the hashes, the threads and their queues, and the
// dummy comparison that makes a login to an unknown account take as long as to a known one.
//
// It knows nothing about accounts or HTTP, and does not decide whether a password is strong
// enough. That is up to package auth, its only caller. It reports to package telemetry.
//
// Start reading at Pool.Verify in bcrypt.go, then Pool.do in pool.go.
package hashpool

// Package suite selects which test suites run.
//
// A test that belongs to a suite calls Require first. Every other test is Ordinary. The
// environment variable TEST_SUITES lists the suites to run, separated by commas:
//
//	TEST_SUITES=race,model go test ./internal/httpapi/...
//
// Without it, go test runs Ordinary and the suites that are quick at their default size.
// A suite that is named there must run: the programs that it needs must be installed, and a
// package fails if none of its tests in that suite ran.
package suite

// Package conntest gives tests connections to the stores of package storetest.
//
// Their time limit is generous, because the machine that runs the tests may be busy. A test
// that is about time limits sets its own. The tests of redisconn and mongoconn cannot import
// this package and make their own connections.
package conntest

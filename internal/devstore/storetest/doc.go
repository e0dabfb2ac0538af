// Package storetest gives tests their stores.
//
// By default they are the in-process ones of package devstore. TEST_REDIS=server
// runs every test on a real redis-server, which the tests start themselves on a
// free port; then its absence is a failure. MONGODB_TEST_URI runs them on the
// MongoDB server it names.
//
// A test that is about Redis dying, hanging or being restarted asks for a server
// of its own: see StartRedis.
package storetest

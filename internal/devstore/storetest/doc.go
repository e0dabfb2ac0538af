// Package storetest gives each test an empty Redis database and an empty MongoDB database.
//
// By default they are in-process stores from package devstore. With TEST_REDIS=server,
// sentinel or cluster the tests start real Redis servers on free ports; a missing
// redis-server then fails the tests instead of skipping them. With MONGODB_TEST_URI they use
// the MongoDB server at that URI.
//
// A test that kills, pauses or restarts a store starts its own: see StartRedis,
// StartSentinel, StartCluster and StartMongo. A test that delays or drops single commands
// connects through a Proxy.
//
// Start reading at NewRedis and Mongo.
package storetest

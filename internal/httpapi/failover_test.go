package httpapi_test

import (
	"flag"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit/suite"
)

// make check-failover sets higher numbers.
var (
	failovers    = flag.Int("failovers", 1, "how often a Redis server is killed")
	loadSessions = flag.Int("sessions", 1000, "the number of sessions when a Redis server is killed")
)

// If Redis is killed under load and restarted from its append-only file, nobody has to log in again,
// no session is lost, and no revoked session comes back.
func TestRedisKilledUnderLoad(t *testing.T) {
	suite.Require(t, suite.Failover)

	server := storetest.StartRedis(t)
	l := startLoad(t, server.Redis, *loadSessions)
	for round := 0; round < *failovers && !t.Failed(); round++ {
		l.waitFor(&l.served, 100)
		server.Kill()
		l.waitFor(&l.failed, 100)
		server.Restart(t)
		l.waitFor(&l.served, 100)
	}

	l.finish()
}

// The same holds if the server that the Sentinels watch is killed and a replica replaces
// it.
func TestSentinelFailover(t *testing.T) {
	suite.Require(t, suite.Failover)

	sentinels := storetest.StartSentinel(t)
	l := startLoad(t, sentinels.Redis, *loadSessions)
	for round := 0; round < *failovers && !t.Failed(); round++ {
		l.waitFor(&l.served, 1000)
		failed := sentinels.CurrentMaster(t)
		failed.Kill()
		l.waitFor(&l.failed, 1)
		l.waitFor(&l.served, 1000)
		sentinels.Rejoin(t, failed)
	}

	l.finish()
}

// The same holds for a planned failover, although the old server accepts commands for a
// while.
func TestPlannedFailover(t *testing.T) {
	suite.Require(t, suite.Failover)

	sentinels := storetest.StartSentinel(t)
	l := startLoad(t, sentinels.Redis, *loadSessions)
	l.waitFor(&l.served, 1000)
	sentinels.Failover(t)
	l.waitForLog("Redis topology changed")
	l.finish()
	if l.refused.Load() == 0 {
		t.Error("rejected logins during the failover: got 0, want some")
	}
}

// No ended session is accepted either if the master is paused until the Sentinels consider it down,
// and resumes while a replica is being promoted.
func TestFailoverOfPausedServer(t *testing.T) {
	suite.Require(t, suite.Failover)

	sentinels := storetest.StartSentinel(t)
	l := startLoad(t, sentinels.Redis, *loadSessions)
	l.waitFor(&l.served, 1000)
	paused := sentinels.CurrentMaster(t)
	paused.Pause()
	sentinels.AwaitFailoverStart(t)
	paused.Resume()
	l.waitForLog("Redis topology changed")
	l.finish()
}

// The same holds if one of the three servers of a cluster is killed. By default, the others
// refuse commands until its replica is promoted.
func TestClusterFailover(t *testing.T) {
	suite.Require(t, suite.Failover)

	cluster := storetest.StartCluster(t)
	l := startLoad(t, cluster.Redis, *loadSessions)
	for round := 0; round < *failovers && !t.Failed(); round++ {
		l.waitFor(&l.served, 1000)
		failed := cluster.MasterOf(t, "idx:{"+apitest.UserID+"}")
		failed.Kill()
		l.waitFor(&l.failed, 1)
		cluster.AwaitFailover(t, failed)
		l.waitFor(&l.served, 1000)
		failed.Restart(t)
		cluster.AwaitReady(t)
	}

	l.finish()
}

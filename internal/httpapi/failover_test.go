package httpapi

import (
	"flag"
	"testing"

	"latchkey/internal/devstore/storetest"
)

// failovers is how often a server is taken away, and loadSessions how many sessions
// there are then. make check-failover has more of both.
var (
	failovers    = flag.Int("failovers", 1, "how often a Redis server is killed")
	loadSessions = flag.Int("sessions", 1000, "how many sessions there are when one is")
)

// Redis is killed under load and started again from its append-only file: nobody is
// told to log in, no session is lost and none that was ended comes back.
func TestRedisKilledUnderLoad(t *testing.T) {
	server := storetest.StartRedis(t)
	s := newSite(t, setup{redis: &server.Redis})
	l := startLoad(t, s, *loadSessions)
	for round := 0; round < *failovers && !t.Failed(); round++ {
		l.until(&l.served, 100)
		server.Kill()
		l.until(&l.away, 100)
		server.Restart(t)
		l.since()
		_, back := l.worst()
		t.Logf("all served %v after Redis accepted connections", back)
	}
	l.finish()
}

// The server that the Sentinels watch is killed under load: the same, once a replica
// has its place.
func TestSentinelFailover(t *testing.T) {
	sentinels := storetest.StartSentinel(t)
	s := newSite(t, setup{redis: &sentinels.Redis})
	l := startLoad(t, s, *loadSessions)
	for round := 0; round < *failovers && !t.Failed(); round++ {
		l.until(&l.served, 1000)
		failed := sentinels.Current(t)
		l.since()
		failed.Kill()
		l.until(&l.away, 1)
		outage, _ := l.worst()
		l.since()
		_, back := l.worst()
		t.Logf("unavailable for %v; then served within %v", outage, back)
		sentinels.Rejoin(t, failed)
	}
	l.finish()
}

// A replica is put in the place of a server that is well, as one does to upgrade it: the
// same, though the old one goes on for a while and takes what it is told.
func TestPlannedFailover(t *testing.T) {
	sentinels := storetest.StartSentinel(t)
	s := newSite(t, setup{redis: &sentinels.Redis})
	l := startLoad(t, s, *loadSessions)
	l.until(&l.served, 1000)
	sentinels.Switch(t)
	l.untilSaid("Redis is at other servers now")
	l.finish()
	if l.refused.Load() == 0 {
		t.Error("no login was refused meanwhile")
	}
}

// A server is held up for so long that it is taken for dead, and goes on when a replica
// gets its place: the same.
func TestFailoverOfSlowServer(t *testing.T) {
	sentinels := storetest.StartSentinel(t)
	s := newSite(t, setup{redis: &sentinels.Redis})
	l := startLoad(t, s, *loadSessions)
	l.until(&l.served, 1000)
	slow := sentinels.Current(t)
	slow.Pause()
	sentinels.Failing(t)
	slow.Resume()
	l.untilSaid("Redis is at other servers now")
	l.finish()
}

// One of the three servers of a cluster is killed under load: the same. As Redis has
// it by default, the others serve nobody until its replica has its place.
func TestClusterFailover(t *testing.T) {
	cluster := storetest.StartCluster(t)
	s := newSite(t, setup{redis: &cluster.Redis})
	l := startLoad(t, s, *loadSessions)
	for round := 0; round < *failovers && !t.Failed(); round++ {
		l.until(&l.served, 1000)
		failed := cluster.Holder(t, "idx:{"+testUser+"}")
		l.since()
		failed.Kill()
		l.until(&l.away, 1)
		cluster.Replaced(t, failed)
		outage, _ := l.worst()
		t.Logf("unavailable for %v", outage)
		failed.Restart(t)
		cluster.Ready(t)
	}
	l.finish()
}

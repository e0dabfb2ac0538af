package httpapi_test

import (
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/testkit/suite"
)

// After a step of its clock, a server with sessions in memory answers like one without them whose clock
// shows the same time, and no session works again after its end.
func TestClockStepsInMemory(t *testing.T) {
	suite.Require(t, suite.Memory)
	t.Parallel()

	f := newFleet(t, 2, false)
	plain := apitest.New(t, apitest.Options{Redis: &f.redis.Redis, MongoURI: f.servers[0].MongoURI})
	fromMemory := uint64(0)
	for _, step := range []time.Duration{
		4 * time.Minute, -4 * time.Minute, // within the tolerance for clocks
		-10 * time.Minute, 50 * time.Minute, // records or their last use are from the future
		2 * time.Hour, -2 * time.Hour, 10 * time.Hour, // beyond the idle and the absolute timeout
	} {
		for _, stepped := range f.servers {
			isTolerated := step.Abs() < 5*time.Minute
			if stepped == f.servers[0] && !isTolerated {
				continue // it would not trust the session that it is to end
			}

			kept := f.servers[0].SignIn()
			victim := f.servers[0].SignIn()
			f.remember(kept.Token)
			f.remember(victim.Token)
			compare := func(when string) {
				t.Helper()

				hits := stepped.Cache.Stats().Hits
				got := check(stepped, kept.Token)
				fromMemory += stepped.Cache.Stats().Hits - hits
				want := check(plain, kept.Token)
				if got.Status != want.Status || got.Text("reason") != want.Text("reason") || (got.Cookie == nil) != (want.Cookie == nil) {
					t.Errorf("%s a step of %v: got %s, want %s as without memory", when, step, got.Raw, want.Raw)
				}
				if isTolerated && got.Status != 200 {
					t.Errorf("%s a step of %v: got %s, want 200", when, step, got.Raw)
				}
			}
			refuse := func(when string) {
				t.Helper()

				for _, s := range f.servers {
					if got := check(s, victim.Token).Status; got != 401 {
						t.Errorf("%s a step of %v: an ended session got %d, want 401", when, step, got)
					}
				}
			}

			stepped.Advance(step)
			plain.Advance(step)
			compare("after")
			victim.Clone().Do("POST", "/auth/logout", nil).Want(200)
			refuse("after")

			stepped.Advance(-step)
			plain.Advance(-step)
			compare("after the reversal of")
			refuse("after the reversal of")
		}
	}
	if fromMemory == 0 {
		t.Error("no session was loaded from memory")
	}
}

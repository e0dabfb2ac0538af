package devstore

import (
	"time"

	"github.com/alicebob/miniredis/v2"
)

// tick is the period in which the clock of the in-process Redis advances.
const tick = 50 * time.Millisecond

// StartRedis starts an in-process Redis on a free loopback port. It advances the clock of
// miniredis, which would otherwise never expire a key.
func StartRedis() (addr string, stop func(), err error) {
	server, err := miniredis.Run()
	if err != nil {
		return "", nil, err
	}

	done := make(chan struct{})
	go advanceClock(server, done)

	stop = func() {
		close(done)
		server.Close()
	}

	return server.Addr(), stop, nil
}

// advanceClock keeps the clock of server up to date until done is closed.
func advanceClock(server *miniredis.Miniredis, done <-chan struct{}) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()

	last := time.Now()
	for {
		select {
		case <-done:
			return
		case now := <-ticker.C:
			server.FastForward(now.Sub(last))
			last = now
		}
	}
}

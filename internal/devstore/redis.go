package devstore

import (
	"time"

	"github.com/alicebob/miniredis/v2"
)

// tick is how often the clock of the in-process Redis moves.
const tick = 50 * time.Millisecond

// StartRedis starts an in-process Redis on a free port of the loopback. Its clock
// ticks, so that keys expire as they do in Redis: miniredis alone stands still.
func StartRedis() (addr string, stop func(), err error) {
	server, err := miniredis.Run()
	if err != nil {
		return "", nil, err
	}
	done := make(chan struct{})
	go func() {
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
	}()
	return server.Addr(), func() { close(done); server.Close() }, nil
}

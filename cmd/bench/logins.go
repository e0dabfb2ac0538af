package main

import (
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// logins compares logins with bcrypt alone.
func (b *bench) logins() error {
	s, err := b.startServer(fromMemory)
	if err != nil {
		return err
	}
	defer s.stop()

	connections := 4 * runtime.NumCPU() // enough to keep all cores hashing
	r := request{method: http.MethodPost, url: s.url + "/auth/login", body: loginBody}
	login := func() (sample, error) { return b.measure(r, connections) }
	samples, err := b.interleave(login, b.bcryptAlone)
	if err != nil {
		return err
	}

	server := samples[0]
	bcryptOnly := samples[1]
	name := fmt.Sprintf("bcrypt alone, cost %d", b.settings.BcryptCost)
	what := fmt.Sprintf("`POST /auth/login`, connections: %d; logins/s", connections)
	b.compare(what, server, name, bcryptOnly, sample.rate, 1, "≥ 0.9")
	b.row("Core-seconds for one password", "", name, number(median(bcryptOnly, sample.coreSeconds), 3), "", "")

	return nil
}

// bcryptAlone verifies a password on all cores, with the low priority that the server uses for
// hashing, so that other programs slow down both equally.
func (b *bench) bcryptAlone() (sample, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), b.settings.BcryptCost)
	if err != nil {
		return sample{}, err
	}

	var workers errgroup.Group
	var compared, nanoseconds atomic.Int64
	for range runtime.NumCPU() {
		workers.Go(func() error {
			runtime.LockOSThread() // never unlocked, so the thread exits with the goroutine
			if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 19); err != nil {
				return err
			}

			start := time.Now()
			for time.Since(start) < b.duration {
				if err := bcrypt.CompareHashAndPassword(hash, []byte(password)); err != nil {
					return err
				}
				compared.Add(1)
			}
			nanoseconds.Add(int64(time.Since(start)))

			return b.ctx.Err()
		})
	}
	err = workers.Wait()

	return sample{
		Count:   float64(compared.Load()),
		Seconds: time.Duration(nanoseconds.Load()).Seconds() / float64(runtime.NumCPU()),
	}, err
}

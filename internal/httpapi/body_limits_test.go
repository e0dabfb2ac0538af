package httpapi

import (
	"io"
	"strings"
	"testing"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/testkit"
)

// Each route accepts the longest passwords, however a client escapes them.
func TestRoomForPasswords(t *testing.T) {
	t.Parallel()

	const longestEscape = `\ud83d\ude00` // one character
	withPasswords := 0
	for name, rt := range tableByName() {
		passwords := 0
		if rt.endpoint.body != nil {
			for field := range rt.endpoint.body.Fields() {
				if strings.Contains(field.Tag.Get("validate"), "_password") {
					passwords++
				}
			}
		}

		const others = 4 << 10 // an email, a name or a token, and the names of the members
		want := int64(passwords*auth.MaxPasswordLength*len(longestEscape) + others)
		if got := rt.endpoint.maxBody; got < want || passwords == 0 && got > 8<<10 {
			t.Errorf("%s: got a limit of %d bytes, want at least %d for %d passwords", name, got, want, passwords)
		}
		if passwords > 0 {
			withPasswords++
		}
	}
	if withPasswords < 6 {
		t.Errorf("got %d routes with passwords, want at least 6", withPasswords)
	}
}

// interrupted is a client that records the deadline by which its body is given up.
type interrupted struct{ deadline time.Time }

func (i *interrupted) SetReadDeadline(deadline time.Time) error {
	i.deadline = deadline

	return nil
}

// Only the body that has been incomplete the longest is given up.
func TestOldestBodyIsGivenUp(t *testing.T) {
	t.Parallel()

	var b bodies
	read := func(client *interrupted) (complete func(), result chan bool) {
		from, to := io.Pipe()
		result = make(chan bool, 1)
		before := b.waiting.Len()
		go func() {
			_, givenUp, _ := b.readAll(client, from, -1)
			result <- givenUp
		}()
		testkit.Eventually(t, "the body to wait", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()

			return b.waiting.Len() > before || before == maxWaitingBodies
		})

		return func() { _ = to.Close() }, result
	}

	clients := make([]interrupted, maxWaitingBodies+2)
	complete := make([]func(), len(clients))
	results := make([]chan bool, len(clients))
	start := func(i int) { complete[i], results[i] = read(&clients[i]) }
	finish := func(i int) (givenUp bool) {
		complete[i]()

		return testkit.Receive(t, "the end of a body", results[i])
	}
	for i := range maxWaitingBodies {
		start(i)
	}
	if finish(0) {
		t.Error("the oldest body was given up although there was room")
	}

	start(maxWaitingBodies) // takes the place of the complete one
	start(maxWaitingBodies + 1)
	testkit.Eventually(t, "a body to be given up", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()

		return !clients[1].deadline.IsZero()
	})

	for i := range clients {
		switch i {
		case 0:
		case 1:
			if !finish(i) || !clients[i].deadline.Before(time.Now()) {
				t.Error("the oldest body was not given up")
			}
		default:
			if finish(i) || !clients[i].deadline.IsZero() {
				t.Errorf("body %d was given up, want only the oldest", i)
			}
		}
	}
	if got := b.waiting.Len(); got != 0 {
		t.Errorf("after all bodies: got %d waiting, want 0", got)
	}
}

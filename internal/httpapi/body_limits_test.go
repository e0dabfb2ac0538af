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

// deadlineRecorder is a deadliner that records its read deadline.
type deadlineRecorder struct{ deadline time.Time }

func (r *deadlineRecorder) SetReadDeadline(deadline time.Time) error {
	r.deadline = deadline

	return nil
}

// startBody reads a body until the test completes it. result receives whether it was given up.
func startBody(t *testing.T, b *bodies, client string, conn *deadlineRecorder) (complete func(), result chan bool) {
	t.Helper()

	from, to := io.Pipe()
	result = make(chan bool, 1)
	waiting := &waitingBody{client: client, conn: conn}
	go func() {
		_, givenUp, _ := b.readAll(waiting, from, -1)
		result <- givenUp
	}()

	testkit.Eventually(t, "the body to wait", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()

		last := b.waiting.Back()

		return last != nil && last.Value == waiting
	})

	return func() { _ = to.Close() }, result
}

// Only the oldest body of the client with the most bodies is given up.
func TestOldestBodyIsGivenUp(t *testing.T) {
	t.Parallel()

	var b bodies
	conns := make([]deadlineRecorder, maxWaitingBodies+3)
	complete := make([]func(), len(conns))
	results := make([]chan bool, len(conns))
	start := func(i int, client string) { complete[i], results[i] = startBody(t, &b, client, &conns[i]) }
	finish := func(i int) (givenUp bool) {
		complete[i]()

		return testkit.Receive(t, "the end of a body", results[i])
	}

	// The first two are from other clients than the rest.
	start(0, "203.0.113.1")
	start(1, "203.0.113.2")
	for i := 2; i < maxWaitingBodies; i++ {
		start(i, "203.0.113.3")
	}
	if finish(0) {
		t.Error("a body was given up, although there were not too many")
	}

	start(maxWaitingBodies, "203.0.113.3") // takes the place of the complete one
	start(maxWaitingBodies+1, "203.0.113.4")
	start(maxWaitingBodies+2, "203.0.113.3")

	for i := 1; i < len(conns); i++ {
		want := i == 2 || i == 3
		if got := finish(i); got != want || conns[i].deadline.IsZero() == want {
			t.Errorf("body %d: got given up %v with deadline %v, want given up %v", i, got, conns[i].deadline, want)
		}
	}
	if got := b.waiting.Len(); got != 0 {
		t.Errorf("after all bodies: got %d waiting, want 0", got)
	}
}

package activity

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mongoconn"
	"latchkey/internal/testkit"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// newRecorder returns a Recorder for a database. It is closed when the test ends, with a timeout in
// case MongoDB is down by then.
func newRecorder(t *testing.T, uri string, o Options) *Recorder {
	t.Helper()

	return newRecorderOn(t, conntest.Mongo(t, mongoconn.Options{URI: uri}), o)
}

func newRecorderOn(t *testing.T, db *mongoconn.Database, o Options) *Recorder {
	t.Helper()

	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}

	r := New(db, o)

	// TestThrottle sets its own limits.
	r.userLimit = math.MaxInt
	r.anonymousLimit = math.MaxInt

	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = r.Close(ctx)
	})

	return r
}

func flush(t *testing.T, r *Recorder) {
	t.Helper()

	testkit.NoError(t, r.Flush(context.Background()))
}

// countByRequest returns the number of documents in the collection for each request ID.
func countByRequest(t *testing.T, uri string) map[string]int {
	t.Helper()

	ctx := context.Background()
	cursor, err := storetest.Database(t, uri).Collection("activity").Find(ctx, bson.D{})
	testkit.NoError(t, err)

	var all []document
	testkit.NoError(t, cursor.All(ctx, &all))

	counts := map[string]int{}
	for _, d := range all {
		counts[d.RequestID]++
	}

	return counts
}

// assertOnce fails the test unless the collection contains exactly one event for each of the
// requests 0 to n-1.
func assertOnce(t *testing.T, uri string, n int) {
	t.Helper()

	got := countByRequest(t, uri)
	if len(got) != n {
		t.Errorf("got stored events for %d requests, want %d", len(got), n)
	}

	for i := range n {
		if count := got[strconv.Itoa(i)]; count != 1 {
			t.Errorf("request %d: got %d stored events, want 1", i, count)
		}
	}
}

// recordAll concurrently records one event for each of the requests first to end-1.
func recordAll(r *Recorder, first, end int) {
	var wg sync.WaitGroup
	for i := first; i < end; i++ {
		wg.Go(func() { r.Record(context.Background(), Event{Name: Login, UserID: "u", RequestID: strconv.Itoa(i)}) })
	}

	wg.Wait()
}

// fullEvent has a value in most fields.
var fullEvent = Event{
	Name: SessionsRevoked, UserID: "u", SessionID: "handle", RequestID: "r", Route: "POST /auth/logout-all", IP: "192.0.2.1",
	UserAgent: "Mozilla/5.0", Device: "Firefox on Linux", Level: "aal2", Methods: "pwd,otp", NewDevice: true, By: "operator", Count: 3,
}

// Events recorded before Flush are found after it, with all fields.
func TestRecordAndRead(t *testing.T) {
	t.Parallel()

	now := time.Date(2026, 5, 1, 12, 0, 0, 123_456_789, time.FixedZone("", 7200))
	r := newRecorder(t, storetest.Mongo(t), Options{Retention: time.Hour, Now: func() time.Time { return now }})
	r.Record(context.Background(), fullEvent)
	flush(t, r)
	got, err := r.ByUser(context.Background(), "u", "", 10)
	if err != nil || len(got) != 1 || len(got[0].ID) != 24 {
		t.Fatalf("ByUser: got %+v, error %v, want one event with an ID of 24 digits", got, err)
	}

	for id, want := range map[string]bool{got[0].ID: true, "": false, "x": false, got[0].ID + "0": false, strings.Repeat("g", 24): false} {
		if IsID(id) != want {
			t.Errorf("IsID(%q): got %t, want %t", id, !want, want)
		}
	}

	want := fullEvent
	want.ID = got[0].ID
	want.At = time.Date(2026, 5, 1, 10, 0, 0, 123_000_000, time.UTC)
	if diff := cmp.Diff([]Event{want}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	for range 20 { // Flush must not miss any event
		r.Record(context.Background(), Event{Name: Login, UserID: "v"})
		flush(t, r)
	}

	if got, err := r.ByUser(context.Background(), "v", "", 1000); err != nil || len(got) != 20 {
		t.Errorf("ByUser: got %d events, error %v, want 20", len(got), err)
	}
}

func TestLogLine(t *testing.T) {
	t.Parallel()

	var out bytes.Buffer
	withoutTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}

		return a
	}
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	r := newRecorder(t, storetest.Mongo(t), Options{Log: log})
	r.Record(context.Background(), fullEvent)
	r.Record(context.Background(), Event{Name: LoginFailed})
	testkit.NoError(t, r.Close(context.Background()))

	const want = `level=INFO msg="security event" event=sessions_revoked eventId=ID userId=u sessionId=handle requestId=r ` +
		`route="POST /auth/logout-all" ip=192.0.2.1 userAgent=Mozilla/5.0 device="Firefox on Linux" authLevel=aal2 authMethods=pwd,otp by=operator newDevice=true count=3
level=WARN msg="security event" event=login_failed eventId=ID
`
	got := regexp.MustCompile(`eventId=[0-9a-f]{24}\b`).ReplaceAllString(out.String(), "eventId=ID")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// hostileTexts forge a log line, control a terminal, reverse the direction of text, are very long, or
// are not valid UTF-8.
var hostileTexts = []string{
	"x\r\n{\"level\":\"INFO\",\"msg\":\"security event\",\"event\":\"login\"}",
	"x\nlevel=INFO msg=\"security event\" event=login",
	"\x1b[2J\x1b]0;owned\x07", "\u009b31m", "a\u2028b\u2029c\u0085d", "\u202eevil\u2066", "\x00\x7f", "\xff\xfe\xc3(",
	strings.Repeat("ä", 5000), "x" + strings.Repeat("😀", 5000), "\ufeff\u200b\u200d",
}

// isClean reports whether a text is short, printable UTF-8.
func isClean(s string) bool {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }

	return len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, unprintable)
}

// The collection and the log contain only cleaned texts, and one line for each event.
func TestHostileText(t *testing.T) {
	t.Parallel()

	var out bytes.Buffer
	r := newRecorder(t, storetest.Mongo(t), Options{Log: slog.New(slog.NewJSONHandler(&out, nil))})
	for _, s := range hostileTexts {
		r.Record(context.Background(), Event{Name: LimitHit, UserID: "u", RequestID: s, Route: s, IP: s, UserAgent: s, Device: s, SessionID: s, By: s, Level: s, Methods: s})
	}

	flush(t, r)
	events, err := r.ByUser(context.Background(), "u", "", 100)
	if err != nil || len(events) != len(hostileTexts) {
		t.Fatalf("ByUser: got %d events, error %v, want %d", len(events), err, len(hostileTexts))
	}

	for _, e := range events {
		for _, s := range []string{e.RequestID, e.Route, e.IP, e.UserAgent, e.Device, e.SessionID, e.By, e.Level, e.Methods} {
			if !isClean(s) {
				t.Errorf("got stored text %q, want short printable UTF-8", s)
			}
		}
	}

	testkit.NoError(t, r.Close(context.Background()))
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(hostileTexts) {
		t.Errorf("got %d log lines, want %d", len(lines), len(hostileTexts))
	}

	for _, line := range lines {
		if strings.Contains(line, `\u`) || strings.Contains(line, `\n`) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("got log line %q, want it not to contain unprintable characters", line)
		}
	}
}

// Names contains every constant once, in the order of declaration. Failures and refused requests have
// level Warn, and other events do not.
func TestNames(t *testing.T) {
	t.Parallel()

	source, err := os.ReadFile("event.go")
	testkit.NoError(t, err)

	var constants, warnings []Name
	for _, c := range regexp.MustCompile(`(?m)^\t\w+ +Name = "(\w+)"`).FindAllSubmatch(source, -1) {
		constants = append(constants, Name(c[1]))
	}

	if diff := cmp.Diff(constants, Names); diff != "" {
		t.Errorf("Names: (-want +got)\n%s", diff)
	}

	for _, n := range Names {
		if n.level() == slog.LevelWarn {
			warnings = append(warnings, n)
		}
	}

	want := []Name{
		LoginFailed, PasswordChangeFailed, PasswordResetFailed, EmailVerifyFailed, StepUpFailed, LimitHit, CrossOriginDenied, InvitationFailed, PasswordRestricted,
		FactorFailed, FactorDisabled, RecoveryCodeUsed,
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("names with level Warn: (-want +got)\n%s", diff)
	}
}

// Close writes the buffered events and stops the writer's goroutine. Later events are only logged. The
// test is not parallel because it counts goroutines.
func TestClose(t *testing.T) {
	uri := storetest.Mongo(t)
	r := newRecorder(t, uri, Options{})
	testkit.Eventually(t, "one writer goroutine", func() bool { return writerGoroutines() == 1 })
	recordAll(r, 0, 500)
	testkit.NoError(t, r.Close(context.Background()))

	if n := writerGoroutines(); n != 0 {
		t.Errorf("after Close: got %d writer goroutines, want 0", n)
	}

	assertOnce(t, uri, 500)
	recordAll(r, 500, 501)
	if err := r.Flush(context.Background()); err != nil {
		t.Errorf("Flush after Close: got error %v, want none", err)
	}
	if err := r.Close(context.Background()); !errors.Is(err, mongoconn.ErrUnavailable) || !strings.Contains(err.Error(), "1 security events") {
		t.Errorf("second Close: got error %v, want ErrUnavailable with 1 lost event", err)
	}

	assertOnce(t, uri, 500)
}

// writerGoroutines returns the number of goroutines that write events for a Recorder.
func writerGoroutines() int {
	stacks := make([]byte, 1<<22)
	stacks = stacks[:runtime.Stack(stacks, true)]

	return bytes.Count(stacks, []byte("activity.(*Recorder).write("))
}

// An event that can happen only once is stored once, even if several servers record it.
func TestOnce(t *testing.T) {
	t.Parallel()

	uri := storetest.Mongo(t)
	for range 2 {
		r := newRecorder(t, uri, Options{})
		for range 2 {
			r.Record(context.Background(), Event{Name: Logout, SessionID: "ann's", Once: true, RequestID: "once"})
		}
		r.Record(context.Background(), Event{Name: Logout, SessionID: "eve's", Once: true, RequestID: "another session"})
		r.Record(context.Background(), Event{Name: SessionRevoked, SessionID: "ann's", Once: true, RequestID: "another event"})
		r.Record(context.Background(), Event{Name: Logout, SessionID: "ann's", RequestID: "each time"})
		flush(t, r)
	}

	want := map[string]int{"once": 1, "another session": 1, "another event": 1, "each time": 2}
	if diff := cmp.Diff(want, countByRequest(t, uri)); diff != "" {
		t.Errorf("stored events (-want +got):\n%s", diff)
	}
}

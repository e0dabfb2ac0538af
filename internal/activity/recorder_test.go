package activity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
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

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mongoconn"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// newRecorder returns a Recorder on a database. It is closed after the test; a test
// that ends with MongoDB away gives it up.
func newRecorder(t *testing.T, uri string, o Options) *Recorder {
	t.Helper()
	db, err := mongoconn.Open(uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	t.Cleanup(func() { _ = db.Client().Disconnect(context.Background()) })
	r := New(db, o)
	r.most, r.mostOfNobody = math.MaxInt, math.MaxInt // but where a test is about it
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = r.Close(ctx)
	})
	return r
}

func flush(t *testing.T, r *Recorder) {
	t.Helper()
	if err := r.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// stored counts, past the Recorder, how often each request is in the collection.
func stored(t *testing.T, uri string) map[string]int {
	t.Helper()
	ctx := context.Background()
	found, err := storetest.Database(t, uri).Collection("activity").Find(ctx, bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	var all []document
	if err := found.All(ctx, &all); err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, d := range all {
		times[d.RequestID]++
	}
	return times
}

// assertOnce fails unless the requests 0 to n-1 are stored once each, and nothing else.
func assertOnce(t *testing.T, uri string, n int) {
	t.Helper()
	got := stored(t, uri)
	if len(got) != n {
		t.Errorf("%d events are stored, want %d", len(got), n)
	}
	for i := range n {
		if times := got[strconv.Itoa(i)]; times != 1 {
			t.Errorf("event %d is stored %d times", i, times)
		}
	}
}

// recordAll records the events of the requests from to to-1, at once.
func recordAll(r *Recorder, from, to int) {
	var wg sync.WaitGroup
	for i := from; i < to; i++ {
		wg.Go(func() { r.Record(context.Background(), Event{Name: Login, UserID: "u", RequestID: strconv.Itoa(i)}) })
	}
	wg.Wait()
}

var full = Event{
	Name: SessionsRevoked, UserID: "u", SessionID: "handle", RequestID: "r", Route: "POST /auth/logout-all", IP: "192.0.2.1",
	UserAgent: "Mozilla/5.0", Device: "Firefox on Linux", NewDevice: true, By: "operator", Count: 3,
}

// What was recorded before Flush is found after it, with every member.
func TestRecordAndRead(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 123_456_789, time.FixedZone("", 7200))
	r := newRecorder(t, storetest.Mongo(t), Options{Retention: time.Hour, Now: func() time.Time { return at }})
	r.Record(context.Background(), full)
	flush(t, r)
	got, err := r.ByUser(context.Background(), "u", "", 10)
	if err != nil || len(got) != 1 || len(got[0].ID) != 24 {
		t.Fatalf("got %+v, %v", got, err)
	}
	for id, want := range map[string]bool{got[0].ID: true, "": false, "x": false, got[0].ID + "0": false, strings.Repeat("g", 24): false} {
		if IsID(id) != want {
			t.Errorf("IsID(%q) is %v", id, !want)
		}
	}
	want := full
	want.ID, want.At = got[0].ID, time.Date(2026, 5, 1, 10, 0, 0, 123_000_000, time.UTC)
	if diff := cmp.Diff([]Event{want}, got); diff != "" {
		t.Error(diff)
	}
	for range 20 { // each time
		r.Record(context.Background(), Event{Name: Login, UserID: "v"})
		flush(t, r)
	}
	if got, err := r.ByUser(context.Background(), "v", "", 1000); err != nil || len(got) != 20 {
		t.Errorf("%d events, %v", len(got), err)
	}
}

func TestLogLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := newRecorder(t, storetest.Mongo(t), Options{Log: slog.New(slog.NewJSONHandler(&out, nil))})
	r.Record(context.Background(), full)
	r.Record(context.Background(), Event{Name: LoginFailed})
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	var lines []map[string]any
	for decoder := json.NewDecoder(&out); ; {
		var line map[string]any
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if id, ok := line["eventId"].(string); !ok || len(id) != 24 {
			t.Errorf("the ID is %v", line["eventId"])
		}
		delete(line, "time")
		delete(line, "eventId")
		lines = append(lines, line)
	}
	want := []map[string]any{
		{
			"level": "INFO", "msg": "security event", "event": "sessions_revoked", "userId": "u", "sessionId": "handle", "requestId": "r",
			"route": "POST /auth/logout-all", "ip": "192.0.2.1", "userAgent": "Mozilla/5.0", "device": "Firefox on Linux",
			"newDevice": true, "by": "operator", "count": 3.0,
		},
		{"level": "WARN", "msg": "security event", "event": "login_failed"},
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

// hostile user agents forge a log line, drive a terminal, turn the text around, are
// long, are no text.
var hostile = []string{
	"x\r\n{\"level\":\"INFO\",\"msg\":\"security event\",\"event\":\"login\"}",
	"x\nlevel=INFO msg=\"security event\" event=login",
	"\x1b[2J\x1b]0;owned\x07", "\u009b31m", "a\u2028b\u2029c\u0085d", "\u202eevil\u2066", "\x00\x7f", "\xff\xfe\xc3(",
	strings.Repeat("ä", 5000), "x" + strings.Repeat("😀", 5000), "\ufeff\u200b\u200d",
}

func TestHostileText(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			r := newRecorder(t, storetest.Mongo(t), Options{Log: slog.New(handler(&out))})
			for _, s := range hostile {
				r.Record(context.Background(), Event{Name: LimitHit, UserID: "u", RequestID: s, Route: s, IP: s, UserAgent: s, Device: s, SessionID: s, By: s})
			}
			flush(t, r)
			events, err := r.ByUser(context.Background(), "u", "", 100)
			if err != nil || len(events) != len(hostile) {
				t.Fatalf("%d events, %v", len(events), err)
			}
			for _, e := range events {
				for _, s := range []string{e.RequestID, e.Route, e.IP, e.UserAgent, e.Device, e.SessionID, e.By} {
					if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
						t.Errorf("kept %q", s)
					}
				}
			}
			if err := r.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			if lines := strings.Count(out.String(), "\n"); lines != len(hostile) {
				t.Errorf("%d lines for %d events", lines, len(hostile))
			}
			for _, c := range strings.ReplaceAll(out.String(), "\n", "") {
				if !unicode.IsPrint(c) {
					t.Errorf("the log has %U", c)
				}
			}
		})
	}
}

// Every constant is in Names, once, and alarms exactly where something was refused.
func TestNames(t *testing.T) {
	t.Parallel()
	warned := []Name{}
	seen := map[Name]bool{}
	for _, n := range Names {
		if seen[n] {
			t.Errorf("%s is there twice", n)
		}
		seen[n] = true
		if n.level() == slog.LevelWarn {
			warned = append(warned, n)
		}
	}
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	constants := regexp.MustCompile(`(?m)^\t\w+ Name = "(\w+)"$`).FindAllSubmatch(source, -1)
	if len(constants) != len(Names) {
		t.Errorf("%d constants and %d names", len(constants), len(Names))
	}
	for _, c := range constants {
		if !seen[Name(c[1])] {
			t.Errorf("%s is not in Names", c[1])
		}
	}
	want := []Name{LoginFailed, PasswordChangeFailed, PasswordResetFailed, EmailVerifyFailed, StepUpFailed, LimitHit, CrossOriginDenied}
	if diff := cmp.Diff(want, warned); diff != "" {
		t.Error(diff)
	}
}

// Close writes what waits and ends the goroutine; after it events are in the log
// only. No other test runs beside this one.
func TestClose(t *testing.T) {
	uri := storetest.Mongo(t)
	r := newRecorder(t, uri, Options{})
	for deadline := time.Now().Add(20 * time.Second); running() != 1; {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines have started, want 1", running())
		}
	}
	recordAll(r, 0, 500)
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := running(); n != 0 {
		t.Errorf("%d goroutines go on", n)
	}
	assertOnce(t, uri, 500)
	recordAll(r, 500, 501)
	if err := r.Flush(context.Background()); err != nil {
		t.Errorf("flush: %v", err)
	}
	if err := r.Close(context.Background()); !errors.Is(err, mongoconn.ErrUnavailable) || !strings.Contains(err.Error(), "1 security events") {
		t.Errorf("a second time: %v", err)
	}
	assertOnce(t, uri, 500)
}

// running counts the goroutines of Recorders.
func running() int {
	stacks := make([]byte, 1<<22)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte("activity.(*Recorder).write("))
}

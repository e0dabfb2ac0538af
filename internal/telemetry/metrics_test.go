package telemetry

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.mongodb.org/mongo-driver/event"

	"latchkey/internal/testkit"
)

// usedMetrics returns Metrics in which every metric has a value.
func usedMetrics() *Metrics {
	m := NewMetrics()
	use(m)

	m.AccountExpired()

	return m
}

// use calls every method of m.
func use(m *Metrics) {
	ctx := context.Background()
	m.Routes("/auth/login", "/auth/sessions/{id}")
	m.SignInMethods("password", "google")
	m.Factors("totp", "recovery_code")
	m.EndReasons("logged_out", "revoked", "expired")
	m.Budget("login", "ip", "account-devices")
	m.MailKinds("new_device")

	m.InFlight(1)
	m.InFlight(1)
	m.InFlight(-1)
	m.Request(http.MethodPost, "/auth/login", http.StatusOK, 3*time.Millisecond)
	m.Request(http.MethodPost, "/auth/login", http.StatusUnauthorized, time.Millisecond)
	m.SessionStarted("google", "aal2")
	m.SessionsEnded("logged_out", 1)
	m.SessionsEnded("revoked", 3)
	m.SessionsEnded("revoked", 0)
	m.Login(LoginFailed)
	m.Login(LoginBusy)
	m.FactorChecked("totp", FactorFailure)
	m.LimitHit("login", "account-devices")
	m.PasswordHashed(20 * time.Millisecond)
	m.Mail("new_device", MailSent)

	m.ObserveHashQueue(func() int { return 7 })
	m.ObserveMailQueue(func(context.Context) (int, error) { return 5, nil })
	m.ObserveStore("redis", func(context.Context) error { return nil })
	m.ObserveStore("mongodb", func(context.Context) error { return errors.New("connection refused") })
	m.ObserveRedisConnections(func() (idle, inUse int) { return 2, 3 })
	m.ObserveSessionCache(func() int { return 1000 }, func() CacheCounts {
		return CacheCounts{Hits: 9, Misses: 8, Reports: 7, LostStreams: 6, Unacknowledged: 5}
	})
	m.RedisCommand(ctx, "GET").Done(nil)
	m.RedisCommand(ctx, "GET").Done(context.DeadlineExceeded)
	m.RedisCommand(ctx, "EVALSHA").Done(errors.New("reset"))

	commands := m.MongoMonitor()
	commands.Started(ctx, &event.CommandStartedEvent{})
	commands.Succeeded(ctx, &event.CommandSucceededEvent{CommandFinishedEvent: event.CommandFinishedEvent{CommandName: "find"}})
	commands.Failed(ctx, &event.CommandFailedEvent{CommandFinishedEvent: event.CommandFinishedEvent{CommandName: "insert"}})

	pool := m.PoolMonitor()
	if pool == nil {
		return
	}

	for _, kind := range []string{
		event.ConnectionCreated, event.ConnectionCreated, event.ConnectionCreated, event.ConnectionClosed,
		event.GetSucceeded, event.GetSucceeded, event.ConnectionReturned,
	} {
		pool.Event(&event.PoolEvent{Type: kind})
	}
}

// A nil *Metrics and a nil *Tracing can be used.
func TestNilDoesNothing(t *testing.T) {
	t.Parallel()

	use(nil)
	visit(HTTP{}, nil, nil)
	shutdown(t, nil)
	if m := (*Metrics)(nil).PoolMonitor(); m != nil {
		t.Errorf("PoolMonitor on a nil *Metrics: got %v, want nil", m)
	}
}

// scrape returns the metrics in the text format of Prometheus.
func scrape(m *Metrics) string {
	w := httptest.NewRecorder()
	m.handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, newRequest())

	return w.Body.String()
}

// Names and labels must not change, because operators' dashboards and alerts depend on them. Declared
// series exist with the value 0, because an alert sees no increase in a series that starts with its
// first event.
func TestValues(t *testing.T) {
	t.Parallel()

	want := []string{
		`latchkey_accounts_expired_total 1`,
		`latchkey_build_info{goversion="?",revision="?",version="?"} 1`,
		`latchkey_email_send_attempts_total{kind="new_device",outcome="dropped"} 0`,
		`latchkey_email_send_attempts_total{kind="new_device",outcome="sent"} 1`,
		`latchkey_factor_checks_total{factor="recovery_code",outcome="failure"} 0`,
		`latchkey_factor_checks_total{factor="recovery_code",outcome="success"} 0`,
		`latchkey_factor_checks_total{factor="totp",outcome="failure"} 1`,
		`latchkey_factor_checks_total{factor="totp",outcome="success"} 0`,
		`latchkey_http_request_duration_seconds_count{method="POST",route="/auth/login"} 2`,
		`latchkey_http_request_duration_seconds_sum{method="POST",route="/auth/login"} 0.004`,
		`latchkey_http_requests_in_flight 1`,
		`latchkey_http_requests_total{method="POST",route="/auth/login",status="200"} 1`,
		`latchkey_http_requests_total{method="POST",route="/auth/login",status="401"} 1`,
		`latchkey_limit_hits_total{budget="login",scope="account-devices"} 1`,
		`latchkey_limit_hits_total{budget="login",scope="ip"} 0`,
		`latchkey_logins_total{outcome="busy"} 1`,
		`latchkey_logins_total{outcome="failed"} 1`,
		`latchkey_logins_total{outcome="success"} 0`,
		`latchkey_mails_queued 5`,
		`latchkey_mongo_command_duration_seconds_count{command="find"} 1`,
		`latchkey_mongo_command_duration_seconds_count{command="insert"} 1`,
		`latchkey_mongo_commands_total{command="find",outcome="ok"} 1`,
		`latchkey_mongo_commands_total{command="insert",outcome="error"} 1`,
		`latchkey_mongo_connections{state="idle"} 1`,
		`latchkey_mongo_connections{state="in_use"} 1`,
		`latchkey_password_hash_queue 7`,
		`latchkey_password_hash_wait_seconds_count 1`,
		`latchkey_password_hash_wait_seconds_sum 0.02`,
		`latchkey_password_hashes_total 1`,
		`latchkey_redis_command_duration_seconds_count{command="EVALSHA"} 1`,
		`latchkey_redis_command_duration_seconds_count{command="GET"} 2`,
		`latchkey_redis_commands_total{command="EVALSHA",outcome="error"} 1`,
		`latchkey_redis_commands_total{command="GET",outcome="ok"} 1`,
		`latchkey_redis_commands_total{command="GET",outcome="timeout"} 1`,
		`latchkey_redis_connections{state="idle"} 2`,
		`latchkey_redis_connections{state="in_use"} 3`,
		`latchkey_session_cache_bytes 1000`,
		`latchkey_session_cache_hits_total 9`,
		`latchkey_session_cache_lost_streams_total 6`,
		`latchkey_session_cache_misses_total 8`,
		`latchkey_session_cache_reports_total 7`,
		`latchkey_session_cache_unacknowledged_total 5`,
		`latchkey_sessions_ended_total{reason="expired"} 0`,
		`latchkey_sessions_ended_total{reason="logged_out"} 1`,
		`latchkey_sessions_ended_total{reason="revoked"} 3`,
		`latchkey_sessions_started_total{level="aal1",method="google"} 0`,
		`latchkey_sessions_started_total{level="aal1",method="password"} 0`,
		`latchkey_sessions_started_total{level="aal2",method="google"} 1`,
		`latchkey_sessions_started_total{level="aal2",method="password"} 0`,
		`latchkey_store_up{store="mongodb"} 0`,
		`latchkey_store_up{store="redis"} 1`,
	}

	m := usedMetrics()
	text := regexp.MustCompile(`(goversion|revision|version)="[^"]*"`).ReplaceAllString(scrape(m), `$1="?"`)
	got := regexp.MustCompile(`(?m)^latchkey_.*`).FindAllString(text, -1)
	got = slices.DeleteFunc(got, regexp.MustCompile(`_bucket|_command_duration_seconds_sum`).MatchString)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("got lint problems %v, error %v, want none", problems, err)
	}
}

// A mail queue of unknown length has no value.
func TestUnknownQueueLength(t *testing.T) {
	t.Parallel()

	m := NewMetrics()
	m.ObserveMailQueue(func(ctx context.Context) (int, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("got a context without a deadline, want one so that scrapes end")
		}

		return 0, errors.New("connection refused")
	})

	if text := scrape(m); strings.Contains(text, "latchkey_mails_queued") {
		t.Errorf("got metrics %s, want them not to contain latchkey_mails_queued", text)
	}

	// A later call replaces the function.
	m.ObserveMailQueue(func(context.Context) (int, error) { return 4, nil })
	if text := scrape(m); !strings.Contains(text, "latchkey_mails_queued 4\n") {
		t.Errorf("got metrics %s, want them to contain latchkey_mails_queued 4", text)
	}
}

// Clients cannot create series, whatever they send.
func TestClientsCannotCreateSeries(t *testing.T) {
	t.Parallel()

	m := usedMetrics()
	count := func() int {
		n, err := testutil.GatherAndCount(m.registry)
		testkit.NoError(t, err)

		return n
	}

	junk := func() string { return "canary-" + rand.Text() }
	use := func() {
		m.Request(junk(), junk(), 1000, time.Second)
		m.Request(http.MethodGet, junk(), -1, time.Second)
		m.Request(junk(), "/auth/login", http.StatusOK, time.Second)
		m.SessionStarted(junk(), junk())
		m.SessionsEnded(junk(), 1)
		m.Login(junk())
		m.LimitHit(junk(), junk())
		m.Mail(junk(), junk())
		m.RedisCommand(context.Background(), junk()).Done(errors.New(junk()))
		m.MongoMonitor().Failed(context.Background(), &event.CommandFailedEvent{Failure: junk(), CommandFinishedEvent: event.CommandFinishedEvent{CommandName: junk()}})
	}

	use()
	before := count()

	for range 10_000 {
		use()
	}

	if got := count(); got != before {
		t.Errorf("got %d series after 10,000 rounds, want %d, as after the first", got, before)
	}

	if strings.Contains(scrape(m), "canary") {
		t.Error("got metrics containing a value that a client sent, want none")
	}
}

func TestRequestAllocatesNothing(t *testing.T) {
	m := usedMetrics()
	for name, f := range map[string]func(){
		"request": func() { m.Request(http.MethodGet, "/auth/login", http.StatusOK, time.Millisecond) },
		"command": func() { m.RedisCommand(context.Background(), "GET").Done(nil) },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", name, n)
		}
	}
}

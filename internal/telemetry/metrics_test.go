package telemetry

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"go.mongodb.org/mongo-driver/event"

	"latchkey/internal/testkit"
)

// usedMetrics returns Metrics in which every metric has a value.
func usedMetrics() *Metrics {
	m := NewMetrics()
	m.Routes("/auth/login", "/auth/sessions/{id}")
	m.SignInMethods("password", "google")
	m.EndReasons("logged_out", "revoked")
	m.Budget("login", "ip", "account-devices")
	m.MailKinds("new_device")
	m.InFlight(1)
	m.InFlight(1)
	m.InFlight(-1)
	m.Request(http.MethodPost, "/auth/login", http.StatusOK, 3*time.Millisecond)
	m.Request(http.MethodPost, "/auth/login", http.StatusUnauthorized, time.Millisecond)
	m.SessionBegun("google")
	m.SessionsEnded("logged_out", 1)
	m.SessionsEnded("revoked", 3)
	m.SessionsEnded("revoked", 0)
	m.Login(LoginSuccess)
	m.Login(LoginFailed)
	m.Login(LoginBusy)
	m.LimitHit("login", "account-devices")
	m.PasswordHashed(20 * time.Millisecond)
	m.Mail("new_device", MailSent)
	m.ObserveHashQueue(func() int { return 7 })
	m.ObserveMailQueue(func(context.Context) (int, error) { return 5, nil })
	m.ObserveStore("redis", func(context.Context) error { return nil })
	m.ObserveStore("mongodb", func(context.Context) error { return errors.New("connection refused") })
	m.ObserveRedisConnections(func() (idle, inUse int) { return 2, 3 })
	m.RedisCommand(context.Background(), "GET").Done(nil)
	m.RedisCommand(context.Background(), "GET").Done(context.DeadlineExceeded)
	m.RedisCommand(context.Background(), "EVALSHA").Done(errors.New("reset"))
	commands := m.MongoMonitor()
	commands.Succeeded(context.Background(), &event.CommandSucceededEvent{CommandFinishedEvent: event.CommandFinishedEvent{CommandName: "find"}})
	commands.Failed(context.Background(), &event.CommandFailedEvent{CommandFinishedEvent: event.CommandFinishedEvent{CommandName: "insert"}})
	pool := m.PoolMonitor()

	for _, kind := range []string{
		event.ConnectionCreated, event.ConnectionCreated, event.ConnectionCreated, event.ConnectionClosed,
		event.GetSucceeded, event.GetSucceeded, event.ConnectionReturned,
	} {
		pool.Event(&event.PoolEvent{Type: kind})
	}

	return m
}

// families returns our metrics by name.
func families(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()

	all, err := m.registry.Gather()
	testkit.NoError(t, err)

	ours := map[string]*dto.MetricFamily{}
	for _, f := range all {
		if strings.HasPrefix(f.GetName(), namespace+"_") {
			ours[f.GetName()] = f
		}
	}

	return ours
}

// labelsOf returns the names of the labels of a metric, in order.
func labelsOf(f *dto.MetricFamily) string {
	var names []string
	for _, pair := range f.GetMetric()[0].GetLabel() {
		names = append(names, pair.GetName())
	}

	return strings.Join(names, ",")
}

// Names and labels must not change: dashboards and alerts of operators depend on them.
func TestNames(t *testing.T) {
	t.Parallel()

	want := map[string]string{
		"latchkey_build_info":                     "goversion,revision,version",
		"latchkey_http_request_duration_seconds":  "method,route",
		"latchkey_http_requests_in_flight":        "",
		"latchkey_http_requests_total":            "method,route,status",
		"latchkey_limit_hits_total":               "budget,scope",
		"latchkey_logins_total":                   "outcome",
		"latchkey_mails_queued":                   "",
		"latchkey_mails_sent_total":               "kind,outcome",
		"latchkey_mongo_command_duration_seconds": "command",
		"latchkey_mongo_commands_total":           "command,outcome",
		"latchkey_mongo_connections":              "state",
		"latchkey_password_hash_queue":            "",
		"latchkey_password_hash_wait_seconds":     "",
		"latchkey_password_hashes_total":          "",
		"latchkey_redis_command_duration_seconds": "command",
		"latchkey_redis_commands_total":           "command,outcome",
		"latchkey_redis_connections":              "state",
		"latchkey_sessions_begun_total":           "method",
		"latchkey_sessions_ended_total":           "reason",
		"latchkey_store_up":                       "store",
	}

	got := map[string]string{}
	for name, f := range families(t, usedMetrics()) {
		got[name] = labelsOf(f)
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total"} {
		if n, err := testutil.GatherAndCount(usedMetrics().registry, name); n == 0 || err != nil {
			t.Errorf("%s: got %d series, error %v, want at least 1", name, n, err)
		}
	}

	problems, err := testutil.GatherAndLint(usedMetrics().registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("got lint problems %v, error %v, want none", problems, err)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	const want = `
		latchkey_http_requests_in_flight 1
		latchkey_http_requests_total{method="POST",route="/auth/login",status="200"} 1
		latchkey_http_requests_total{method="POST",route="/auth/login",status="401"} 1
		latchkey_sessions_begun_total{method="google"} 1
		latchkey_sessions_begun_total{method="password"} 0
		latchkey_logins_total{outcome="busy"} 1
		latchkey_logins_total{outcome="failed"} 1
		latchkey_logins_total{outcome="success"} 1
		latchkey_password_hashes_total 1
		latchkey_password_hash_queue 7
		latchkey_mails_queued 5
		latchkey_store_up{store="mongodb"} 0
		latchkey_store_up{store="redis"} 1
		latchkey_redis_connections{state="idle"} 2
		latchkey_redis_connections{state="in_use"} 3
		latchkey_redis_commands_total{command="EVALSHA",outcome="error"} 1
		latchkey_redis_commands_total{command="GET",outcome="ok"} 1
		latchkey_redis_commands_total{command="GET",outcome="timeout"} 1
		latchkey_mongo_commands_total{command="find",outcome="ok"} 1
		latchkey_mongo_commands_total{command="insert",outcome="error"} 1
		latchkey_mongo_connections{state="idle"} 1
		latchkey_mongo_connections{state="in_use"} 1
	`
	m := usedMetrics()
	names := map[string]bool{}

	for line := range strings.Lines(want) {
		if name, _, _ := strings.Cut(strings.TrimSpace(line), "{"); name != "" {
			name, _, _ = strings.Cut(name, " ")
			names[name] = true
		}
	}

	got := map[string]bool{}
	for name := range names {
		for _, line := range lines(families(t, m)[name]) {
			got[line] = true
		}
	}

	wanted := map[string]bool{}
	for line := range strings.Lines(want) {
		if line = strings.TrimSpace(line); line != "" {
			wanted[line] = true
		}
	}

	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	for _, c := range []struct {
		counter prometheus.Counter
		want    float64
	}{
		{m.ended.WithLabelValues("logged_out"), 1},
		{m.ended.WithLabelValues("revoked"), 3},
		{m.limits.WithLabelValues("login", "account-devices"), 1},
		{m.mails.WithLabelValues("new_device", "sent"), 1},
	} {
		if got := testutil.ToFloat64(c.counter); got != c.want {
			t.Errorf("%v: got %v, want %v", c.counter.Desc(), got, c.want)
		}
	}

	if h := families(t, m)["latchkey_http_request_duration_seconds"].GetMetric()[0].GetHistogram(); h.GetSampleCount() != 2 || h.GetSampleSum() != .004 {
		t.Errorf("got durations %v, want 2 with a sum of 0.004", h)
	}
}

// lines returns the values of a counter or gauge in the text format of Prometheus.
func lines(f *dto.MetricFamily) []string {
	var all []string
	for _, one := range f.GetMetric() {
		var labels []string
		for _, pair := range one.GetLabel() {
			labels = append(labels, pair.GetName()+`="`+pair.GetValue()+`"`)
		}

		name := f.GetName()
		if len(labels) > 0 {
			name += "{" + strings.Join(labels, ",") + "}"
		}

		all = append(all, name+" "+strconv.Itoa(int(one.GetCounter().GetValue()+one.GetGauge().GetValue())))
	}

	return all
}

// Clients cannot create series, whatever they send.
func TestClientsCannotCreateSeries(t *testing.T) {
	t.Parallel()

	m := usedMetrics()
	count := func() (n int) {
		for _, f := range families(t, m) {
			n += len(f.GetMetric())
		}

		return n
	}

	junk := func() string { return "canary-" + rand.Text() }
	use := func() {
		m.Request(junk(), junk(), 1000, time.Second)
		m.Request(http.MethodGet, junk(), -1, time.Second)
		m.Request(junk(), "/auth/login", http.StatusOK, time.Second)
		m.SessionBegun(junk())
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
		t.Errorf("got %d series, want %d as before", got, before)
	}

	for _, f := range families(t, m) {
		for _, one := range f.GetMetric() {
			for _, pair := range one.GetLabel() {
				if strings.Contains(pair.GetValue(), "canary") {
					t.Errorf("got %s{%s=%q}, want no value of a client", f.GetName(), pair.GetName(), pair.GetValue())
				}
			}
		}
	}
}

// Declared series exist from the start, because an alert sees no increase in a series that begins
// with its first event.
func TestDeclaredValuesBeginAtZero(t *testing.T) {
	t.Parallel()

	m := NewMetrics()
	m.SignInMethods("password")
	m.EndReasons("logged_out")
	m.Budget("login", "ip", "account-devices")
	m.MailKinds("new_device")

	got := map[string]bool{}
	all := families(t, m)
	for _, name := range []string{"logins", "limit_hits", "sessions_begun", "sessions_ended", "mails_sent"} {
		for _, line := range lines(all["latchkey_"+name+"_total"]) {
			got[line] = true
		}
	}

	for _, want := range []string{
		`latchkey_logins_total{outcome="busy"} 0`,
		`latchkey_logins_total{outcome="failed"} 0`,
		`latchkey_logins_total{outcome="success"} 0`,
		`latchkey_limit_hits_total{budget="login",scope="ip"} 0`,
		`latchkey_limit_hits_total{budget="login",scope="account-devices"} 0`,
		`latchkey_sessions_begun_total{method="password"} 0`,
		`latchkey_sessions_ended_total{reason="logged_out"} 0`,
		`latchkey_mails_sent_total{kind="new_device",outcome="dropped"} 0`,
	} {
		if !got[want] {
			t.Errorf("got no %s in %v", want, slices.Sorted(maps.Keys(got)))
		}
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"latchkey/internal/devstore/storetest"
)

// The doctor is content with what can work, and fails, with the fix, where something
// cannot.
func TestDoctor(t *testing.T) {
	t.Parallel()
	redis := storetest.StartRedis(t)
	environ := []string{
		"SESSION_SECRET=" + secret, "TRUSTED_PROXIES=127.0.0.1", "FRONTEND_URL=https://app.example.com",
		"MONGODB_URI=" + storetest.Mongo(t), "REDIS_URI=redis://" + redis.Addr,
	}
	doctor := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := run(context.Background(), append([]string{"doctor"}, args...), environ, stdio{nil, &out, io.Discard})
		return out.String(), err
	}
	out, err := doctor("--spa", "https://app.example.com", "--api", "https://api.example.com")
	if err != nil || strings.Contains(out, "FAULT") || strings.Count(out, "risk") != 1 || !strings.Contains(out, "risk  Mail ") || !strings.Contains(out, "keeps every session across a restart") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := doctor(); err != nil || strings.Contains(out, "cookie") {
		t.Errorf("%v\n%s", err, out)
	}
	environ = append(environ, "SMTP_URL=smtp://u:hunter2@127.0.0.1:1", "MAIL_FROM=no-reply@example.com")
	if out, err := doctor(); err == nil || !strings.Contains(out, "FAULT  Mail") || strings.Contains(out, "hunter2") {
		t.Errorf("a mail server that is away: %v\n%s", err, out)
	}
	environ = environ[:len(environ)-2]
	if _, err := redis.Conn(t).Do("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru"); err != nil {
		t.Fatal(err)
	}
	out, err = doctor("--spa", "https://shop.example", "--api", "https://api.example.com")
	if err == nil || err.Error() != "3 things cannot work as they are" || !strings.Contains(out, "to mend it: FRONTEND_URL=https://app.example.com,https://shop.example") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = doctor("--json", "--api", "https://api.example.com")
	var answer struct{ Findings []map[string]string }
	if err == nil || json.Unmarshal([]byte(out), &answer) != nil || len(answer.Findings) < 5 {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := doctor("--spa", "https://shop.example"); err == nil || !strings.Contains(err.Error(), "--api") {
		t.Errorf("without the API: %v", err)
	}
	environ = environ[:1]
	if _, err := doctor(); err == nil || !strings.Contains(err.Error(), "TRUSTED_PROXIES: name the proxy") {
		t.Errorf("without settings: %v", err)
	}
}

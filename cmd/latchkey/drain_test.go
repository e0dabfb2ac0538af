package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A server that is told to stop goes on answering, sends its clients elsewhere, and says
// why to who asks. Told again it ends at once.
func TestDrain(t *testing.T) {
	t.Parallel()
	p := startProcess(t, build(t), environment(t, "DRAIN_TIME=1m", "OPS_ADDR=127.0.0.1:0"))
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "draining", func() bool { return strings.Contains(p.out.String(), `"msg":"draining"`) })
	res, err := http.Get("http://" + p.addr + "/auth/session")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized || !res.Close {
		t.Errorf("%s, Connection: close is %v", res.Status, res.Close)
	}
	if status, body := get(t, "http://"+p.addr+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"code":"not_ready"`) {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, body := get(t, "http://"+opsAddr(t, p.out)+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "about to stop") {
		t.Errorf("/readyz of the private listener: %d %s", status, body)
	}
	if status, _ := get(t, "http://"+p.addr+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.gone:
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", p.cmd.ProcessState)
	}
}

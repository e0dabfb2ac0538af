package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/testkit"
)

// A draining server keeps serving requests, closes its connections, and reports the
// shutdown. A second signal stops it at once.
func TestDrain(t *testing.T) {
	t.Parallel()
	p := startProcess(t, build(t), environment(t, "DRAIN_TIME=1m", "OPS_ADDR=127.0.0.1:0"))
	testkit.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	testkit.Eventually(t, "draining", func() bool { return strings.Contains(p.out.String(), `"msg":"draining"`) })

	res := send(t, "GET", "http://"+p.addr+"/auth/session", "")
	if res.StatusCode != http.StatusUnauthorized || !res.Close {
		t.Errorf("/auth/session: got %d with close %v, want 401 with close true", res.StatusCode, res.Close)
	}
	wantGet(t, "http://"+p.addr+"/readyz", http.StatusServiceUnavailable, `"code":"not_ready"`)
	wantGet(t, "http://"+opsAddr(t, p.out)+"/readyz", http.StatusServiceUnavailable, "shutting down")
	wantGet(t, "http://"+p.addr+"/healthz", http.StatusOK, "")

	testkit.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("the server is still running after the second signal")
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("exit status: got %v, want SIGTERM", p.cmd.ProcessState)
	}
}

package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"latchkey/internal/config"
	"latchkey/internal/telemetry"
)

// ops is the private listener, see telemetry.Ops.
type ops struct {
	listener net.Listener
	server   *http.Server
}

// newOps opens the private listener at addr, and has metrics ask the parts.
func (a *App) newOps(ctx context.Context, addr string, metrics *telemetry.Metrics) (*ops, error) {
	metrics.ObserveHashQueue(a.passwords.Waiting)
	metrics.ObserveMailQueue(a.letters.Len)
	metrics.ObserveRedisConnections(a.redis.Connections)
	metrics.ObserveStore("redis", a.redis.Ping)
	metrics.ObserveStore("mongodb", a.users.Ping)
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &ops{l, &http.Server{
		Handler: telemetry.Ops(metrics, a.api.Ready, a.log), ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: telemetry.OpsReadHeaderTimeout, ReadTimeout: telemetry.OpsReadTimeout,
		WriteTimeout: telemetry.OpsWriteTimeout, IdleTimeout: telemetry.OpsIdleTimeout, MaxHeaderBytes: telemetry.OpsMaxHeaderBytes,
	}}, nil
}

// serveOps answers on the private listener until closeOps, also while the server drains:
// that is when someone looks.
func (a *App) serveOps() {
	if err := a.ops.server.Serve(a.ops.listener); !errors.Is(err, http.ErrServerClosed) {
		a.log.Error("there are no metrics any more", "error", err)
	}
}

func (a *App) closeOps() { _ = a.ops.server.Close() }

// openTelemetry are the variables of OpenTelemetry.
func openTelemetry(c config.Config) map[string]string {
	vars := make(map[string]string, len(c.Telemetry))
	for name, value := range c.Telemetry {
		vars[name] = string(value)
	}
	return vars
}

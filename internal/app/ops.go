package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/telemetry"
)

// opsWriteTimeout allows CPU profiles of two minutes.
const opsWriteTimeout = 150 * time.Second

// opsServer serves metrics, readiness and profiles on the private listener.
type opsServer struct {
	listener net.Listener
	server   *http.Server
}

// newOpsServer opens the private listener, and registers the gauges that observe the parts.
func (a *App) newOpsServer(ctx context.Context, c config.Config, metrics *telemetry.Metrics) (*opsServer, error) {
	metrics.ObserveHashQueue(a.hasher.Waiting)
	metrics.ObserveMailQueue(a.mailQueue.Len)
	metrics.ObserveRedisConnections(a.redis.Connections)
	if a.cache != nil {
		metrics.ObserveSessionCache(a.cache.Bytes, func() telemetry.CacheCounts { return telemetry.CacheCounts(a.cache.Stats()) })
	}
	metrics.ObserveStore("redis", a.redisCheck.Ready)
	metrics.ObserveStore("mongodb", a.users.CheckReady)

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.OpsAddr)
	if err != nil {
		return nil, err
	}

	server := NewServer(telemetry.Ops(metrics, a.api.Ready, c.OpsHosts, a.log), a.log)
	server.WriteTimeout = opsWriteTimeout

	return &opsServer{listener: listener, server: server}, nil
}

// serve serves until the server is closed. It goes on while the API drains, because readiness
// and metrics matter most then.
func (o *opsServer) serve(a *App) {
	err := o.server.Serve(o.listener)
	if !errors.Is(err, http.ErrServerClosed) {
		a.log.Error("ops listener failed", "error", err)
	}
}

// otelVariables returns the OTEL_* variables.
func otelVariables(c config.Config) map[string]string {
	vars := make(map[string]string, len(c.Telemetry))
	for name, value := range c.Telemetry {
		vars[name] = string(value)
	}

	return vars
}

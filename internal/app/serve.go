package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/doctor"
	"latchkey/internal/redisconn"
	"latchkey/internal/user"
)

const (
	// acceptTime lets connections finish their handshake before the port closes.
	acceptTime = 200 * time.Millisecond
	// stopTimeout is how long active requests may take when the server stops.
	stopTimeout = 8 * time.Second
)

// NewServer returns an HTTP server that bounds what a single client can occupy. By default
// net/http waits forever for the rest of a request.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       9 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		HTTP2: &http.HTTP2Config{
			// A browser that needs more streams waits. Each stream can use as much memory as a
			// connection.
			MaxConcurrentStreams: 32,
			// The buffers of a connection and of its streams. By default they are 1 MiB each.
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerConnection: 64 << 10,
			MaxReceiveBufferPerStream:     32 << 10,
			WriteByteTimeout:              30 * time.Second,
		},
		// net/http would answer OPTIONS * itself, without the security headers of the handler.
		DisableGeneralOptionsHandler: true,
	}
}

// newAPIServer returns the API server, with TLS if there is a certificate.
func newAPIServer(c config.Config, api http.Handler, log *slog.Logger) (*http.Server, error) {
	server := NewServer(api, log)
	server.ConnState = newConnections(c.TrustedProxies, log).track
	if c.TLSCertFile == "" {
		return server, nil
	}

	certificate, err := newCertificate(c.TLSCertFile, c.TLSKeyFile, log)
	if err != nil {
		return nil, fmt.Errorf("TLS_CERT_FILE, TLS_KEY_FILE: %w", err)
	}
	server.TLSConfig = certificate.config()

	return server, nil
}

// listen opens the port of the API.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var c net.ListenConfig
	c.SetMultipathTCP(false) // MPTCP sockets do not support the filter of ignoreNewConnections

	return c.Listen(ctx, "tcp", addr)
}

// Addr returns the listen address of the API.
func (a *App) Addr() net.Addr { return a.listener.Addr() }

// Serve answers requests until ctx ends. Then it drains and lets active requests finish.
func (a *App) Serve(ctx context.Context) error {
	defer a.close()

	var background sync.WaitGroup
	defer background.Wait()

	if a.ops != nil {
		a.log.Info("ops listener started", "addr", a.ops.listener.Addr().String())
		defer func() { _ = a.ops.server.Close() }()
		background.Go(func() { a.ops.serve(a) })
	}

	a.log.Info("listening", "addr", a.Addr().String(), "tls", a.server.TLSConfig != nil)

	running, stop := context.WithCancel(ctx)
	defer stop() // also if the listener fails
	go a.waitForStores(running)
	go a.checkProvidersAtStart(running)
	background.Go(func() { a.auth.RunMail(running) })
	background.Go(func() { a.activity.Maintain(running) })
	background.Go(func() { a.expireAccounts(running) })
	background.Go(func() { every(running, maxExpiryInterval, a.pruneInvitations) })

	serveErr := make(chan error, 1)
	go func() { serveErr <- a.accept() }()

	select {
	case err := <-serveErr:
		return err
	case <-ctx.Done():
	}

	if err := a.drain(serveErr); err != nil {
		return err
	}

	return a.shutdown(serveErr)
}

// accept serves connections until the listener is closed.
func (a *App) accept() error {
	if a.server.TLSConfig != nil {
		return a.server.ServeTLS(a.listener, "", "")
	}

	return a.server.Serve(framingListener{a.listener})
}

// drain keeps serving requests for the drain time, so that load balancers and clients can move to other
// servers. It returns early with an error if the listener fails.
func (a *App) drain(serveErr <-chan error) error {
	if a.drainTime == 0 {
		return nil
	}

	a.api.Drain()
	a.log.Info("draining", "for", a.drainTime.String())
	select {
	case err := <-serveErr:
		return err
	case <-time.After(a.drainTime):
	}

	if err := ignoreNewConnections(a.listener); err != nil {
		a.log.Warn("cannot ignore new connections; some may be reset", "error", err)
	}
	time.Sleep(acceptTime)

	return nil
}

// shutdown stops accepting connections and waits for active requests.
func (a *App) shutdown(serveErr <-chan error) error {
	a.log.Info("stopping")

	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()

	err := a.server.Shutdown(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		// Not an error: any client can be slow on purpose.
		a.log.Warn("shutdown timeout: closing active connections")
		_ = a.server.Close()
	case err != nil:
		return fmt.Errorf("stop: %w", err)
	}

	if err := <-serveErr; !errors.Is(err, http.ErrServerClosed) {
		return err
	}

	return nil
}

// waitForStores connects to the stores before the first request has to, and logs what is wrong
// with them.
func (a *App) waitForStores(ctx context.Context) {
	var stores sync.WaitGroup
	defer stores.Wait()

	stores.Go(func() {
		redisFix := func(err error) string { return doctor.RedisFix(redisconn.Code(err), err) }
		if a.waitForStore(ctx, "redis", a.redis.Ping, redisFix) {
			a.logRedisFindings(ctx)
		}
	})
	stores.Go(func() {
		if a.waitForStore(ctx, "mongodb", a.users.Ping, mongoFix) {
			a.prepareMongo(ctx)
		}
	})
}

func (a *App) logRedisFindings(ctx context.Context) {
	findings := append(a.checkRedisKeys(ctx), a.checkSessionCache(ctx)...)
	if a.inspectRedis {
		findings = append(findings, a.checkRedisServers(ctx)...)
	}

	for _, finding := range findings {
		if finding.Level != doctor.OK && ctx.Err() == nil {
			a.log.Warn("redis configuration: "+finding.Message, "server", finding.Subject, "fix", finding.Fix)
		}
	}
}

// prepareMongo checks that accounts can be changed. Then it makes stored emails canonical and
// creates the indexes, retrying each until it succeeds.
func (a *App) prepareMongo(ctx context.Context) {
	if err := a.users.CheckReady(ctx); err != nil && ctx.Err() == nil {
		a.log.Warn("mongodb configuration: accounts cannot be changed", "error", err, "fix", mongoFix(err))
	}

	var tasks sync.WaitGroup
	defer tasks.Wait()

	tasks.Go(func() { retry(ctx, a.prepareEmails) })
	tasks.Go(func() { retry(ctx, a.prepareIdentities) })
	tasks.Go(func() { a.logFactorFindings(ctx) })
}

const (
	// storeStartTimeout is how long a store may take to become available after the server starts,
	// before that is logged as an error.
	storeStartTimeout = time.Minute
	// minRetryPause and maxRetryPause bound the pause between two attempts, which doubles each
	// time.
	minRetryPause = 250 * time.Millisecond
	maxRetryPause = 15 * time.Second
	// indexRetryPause is the pause if an operator has to fix an index. An attempt to create it reads
	// all accounts.
	indexRetryPause = 5 * time.Minute
)

// retry calls try until it succeeds or ctx ends.
func retry(ctx context.Context, try func(context.Context) error) {
	pause := minRetryPause
	for err := try(ctx); err != nil; err = try(ctx) {
		var missing *user.IndexError
		if errors.As(err, &missing) {
			pause = indexRetryPause
		}

		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRetryPause)
	}
}

// waitForStore pings a store until it answers or ctx ends, and reports whether the store answered.
// The server handles requests in the meantime, as it does whenever a store is down. fix returns
// what an operator can do about an error.
func (a *App) waitForStore(ctx context.Context, store string, ping func(context.Context) error, fix func(error) string) bool {
	started := time.Now()
	var warned, failed bool

	retry(ctx, func(ctx context.Context) error {
		err := ping(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil && warned:
			a.log.Info("store available", "store", store, "after", time.Since(started).Round(time.Millisecond).String())
		case err == nil:
		case !warned:
			a.log.Warn("store unavailable; retrying", "store", store, "error", err, "fix", fix(err))
			warned = true
		case !failed && time.Since(started) > storeStartTimeout:
			a.log.Error("store still unavailable; retrying", "store", store, "error", err, "fix", fix(err))
			failed = true
		}

		return err
	})

	return ctx.Err() == nil
}

package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/doctor"
)

// Limits on what one client can hold of the server. net/http has none by
// default: a request of which half was sent stays open for ever.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 9 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	// acceptTime is for connections that are being made when the port is about to close.
	acceptTime = 200 * time.Millisecond
	// stopTimeout bounds the requests that are under way when the server stops.
	stopTimeout = 8 * time.Second
)

// newServer makes what answers by HTTP, and by TLS where there is a certificate.
func newServer(c config.Config, api http.Handler, log *slog.Logger) (*http.Server, error) {
	var secure *tls.Config
	if c.TLSCertFile != "" {
		own, err := newCertificate(c.TLSCertFile, c.TLSKeyFile, log)
		if err != nil {
			return nil, fmt.Errorf("TLS_CERT_FILE, TLS_KEY_FILE: %w", err)
		}
		secure = own.config()
	}
	return &http.Server{
		TLSConfig: secure,
		Handler:   api, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		// OPTIONS * would be answered past the API.
		DisableGeneralOptionsHandler: true,
	}, nil
}

// listen opens the port of the API.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var c net.ListenConfig
	c.SetMultipathTCP(false) // which knows no filter, see ignoreNew
	return c.Listen(ctx, "tcp", addr)
}

// Addr is the address that the server listens at.
func (a *App) Addr() net.Addr { return a.listener.Addr() }

// Serve answers until ctx ends, then drains, and lets the requests under way finish.
func (a *App) Serve(ctx context.Context) error {
	defer a.close()
	serve := a.server.Serve
	if a.server.TLSConfig != nil {
		serve = func(l net.Listener) error { return a.server.ServeTLS(l, "", "") }
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	if a.ops != nil {
		a.log.Info("metrics and profiles", "address", a.ops.listener.Addr().String())
		defer a.closeOps()
		beside.Go(a.serveOps)
	}
	a.log.Info("listening", "address", a.Addr().String(), "tls", a.server.TLSConfig != nil)
	serving, stop := context.WithCancel(ctx)
	defer stop() // also where the listener fails
	go a.greetStores(serving)
	go a.greetProviders(serving)
	beside.Go(func() { a.passwords.RunMail(serving) })
	beside.Go(func() { a.activity.Upkeep(serving) })
	failed := make(chan error, 1)
	go func() { failed <- serve(a.listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	if err := a.drained(failed); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := a.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		// Anyone can send slowly; that is no reason to end with an error.
		a.log.Warn("clients that still sent or read are cut off")
		_ = a.server.Close()
	} else if err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// drained returns when balancers and clients have had the time to go elsewhere, or with
// what the listener failed of meanwhile.
func (a *App) drained(failed <-chan error) error {
	if a.drain > 0 {
		a.api.Drain()
		a.log.Info("draining", "for", a.drain.String())
		select {
		case err := <-failed:
			return err
		case <-time.After(a.drain):
		}
		if err := ignoreNew(a.listener); err != nil {
			a.log.Warn("who connects just now may be reset", "error", err)
		}
		time.Sleep(acceptTime)
	}
	a.log.Info("stopping")
	return nil
}

// greetStores makes the first contact before a request has to, and tells the
// operator what is amiss.
func (a *App) greetStores(ctx context.Context) {
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() {
		if a.answers(ctx, "Redis", a.redis.Ping) && a.inspect {
			for _, found := range a.checkRedis(ctx) {
				if found.Level != doctor.Fine {
					a.log.Warn(found.About+" "+found.Says, "fix", found.Fix)
				}
			}
		}
	})
	both.Go(func() {
		if !a.answers(ctx, "MongoDB", a.users.Ping) {
			return
		}
		if err := a.users.EnsureIndexes(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("nobody can register until this is mended", "error", err)
		}
	})
}

const (
	// greetTimeout is how long a store that is started beside the server may take.
	greetTimeout = time.Minute
	// greetPause is between two tries.
	greetPause = 250 * time.Millisecond
)

// answers waits until a store answers, for some time: it may be started together with
// the server. Requests are answered meanwhile, as whenever a store is away.
func (a *App) answers(ctx context.Context, store string, ping func(context.Context) error) bool {
	for began, warned := time.Now(), false; ; warned = true {
		err := ping(ctx)
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			if warned {
				a.log.Info(store+" answers", "after", time.Since(began).Round(time.Millisecond).String())
			}
			return true
		case time.Since(began) > greetTimeout:
			a.log.Error(store+" has not answered since the start, and is not asked any more until a request needs it", "error", err)
			return false
		case !warned:
			a.log.Warn(store+" does not answer yet", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(greetPause):
		}
	}
}

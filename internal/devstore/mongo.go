package devstore

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// StartMongo starts an in-process MongoDB server on a free loopback port. It keeps its data
// in the directory dir, which it creates if necessary. The URI ends in a slash, so that the
// name of a database can be appended.
func StartMongo(dir string, log *slog.Logger) (uri string, stop func(), err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}

	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}

	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Logger:    log,
		Handler:   "sqlite",
		SQLiteURL: (&url.URL{Scheme: "file", Path: filepath.ToSlash(dir) + "/"}).String(),
	})
	if err != nil {
		return "", nil, fmt.Errorf("start FerretDB: %w", err)
	}

	stopServer := runFerretDB(server)

	// FerretDB listens on its own port; the caller gets the port of the proxy.
	uriURL, err := url.Parse(server.MongoDBURI())
	if err != nil {
		stopServer()
		return "", nil, err
	}

	addr, stopProxy, err := serialize(uriURL.Host)
	if err != nil {
		stopServer()
		return "", nil, err
	}

	uriURL.Host = addr
	stop = func() {
		stopProxy()
		stopServer()
	}

	return uriURL.String(), stop, nil
}

// runFerretDB runs server until stop is called.
func runFerretDB(server *ferretdb.FerretDB) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})

	go func() {
		defer close(done)
		_ = server.Run(ctx)
	}()

	return func() {
		cancel()
		<-done
	}
}

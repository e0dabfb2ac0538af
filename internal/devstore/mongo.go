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

// StartMongo starts a MongoDB server in the process, on a free port of the
// loopback, which keeps its data in the folder dir and makes it if need be. The
// uri ends in a slash: a database's name can follow.
func StartMongo(dir string, log *slog.Logger) (uri string, stop func(), err error) {
	if dir, err = filepath.Abs(dir); err != nil {
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
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Run(ctx)
	}()
	stopServer := func() { cancel(); <-done }
	direct, err := url.Parse(server.MongoDBURI())
	if err == nil {
		var stopTurns func()
		direct.Host, stopTurns, err = serialize(direct.Host)
		stop = func() { stopTurns(); stopServer() }
	}
	if err != nil {
		stopServer()
		return "", nil, err
	}
	return direct.String(), stop, nil
}

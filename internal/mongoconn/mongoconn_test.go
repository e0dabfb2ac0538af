package mongoconn

import (
	"context"
	"strings"
	"testing"
)

func TestOpenHidesURI(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{"", "http://u:hunter2@x", "mongodb://u:hunter2@", "mongodb://u:hunter2@x:99999/", "mongodb://u:hun%ter2@x/"} {
		if _, err := Open(uri, nil); err == nil || strings.Contains(err.Error(), "hun") {
			t.Errorf("Open(%q): %v", uri, err)
		}
	}
}

func TestOpenDatabase(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{"mongodb://localhost:1": "latchkey", "mongodb://localhost:1/": "latchkey", "mongodb://localhost:1/mine?appName=x": "mine"} {
		db, err := Open(uri, nil)
		if err != nil {
			t.Fatal(err)
		}
		if db.Name() != want {
			t.Errorf("Open(%q) is %q, want %q", uri, db.Name(), want)
		}
		_ = db.Client().Disconnect(context.Background())
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/mongoconn"
	"latchkey/internal/user"
)

// password is that of all accounts.
const password = "seventeen green umbrellas"

// person is somebody who is signed in.
type person struct {
	cookie    string
	id        string
	sessionID string
}

// address is that of an account; lua/logins.lua knows it, too.
func address(i int) string { return fmt.Sprintf("person%06d@example.com", i) }

// register makes the account of a person, who is signed in by it.
func (b *bench) register() error {
	form := fmt.Sprintf(`{"name":"Ann Example","email":%q,"password":%q}`, address(0), password)
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, b.server.url+"/auth/register", strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", browser)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("register: %s", res.Status)
	}
	for _, c := range res.Cookies() {
		if c.Name == b.settings.Cookie.Name {
			b.person.cookie = c.Name + "=" + c.Value
		}
	}
	_, body, err := b.get(b.server.url+"/auth/session", b.person.cookie)
	if err != nil {
		return err
	}
	var answer struct{ SessionID, UserID string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	b.person.id, b.person.sessionID = answer.UserID, answer.SessionID
	return nil
}

// populate makes accounts that have the password of the person, once. They are not that
// of the person, whose sessions would become too many by all the logins.
func (b *bench) populate(accounts int) error {
	if b.populated {
		return nil
	}
	b.populated = true
	db, err := mongoconn.Open(b.mongoURI, nil)
	if err != nil {
		return err
	}
	defer func() { _ = db.Client().Disconnect(context.WithoutCancel(b.ctx)) }()
	users := user.New(db, time.Now)
	first, err := users.ByID(b.ctx, b.person.id)
	if err != nil {
		return err
	}
	for i := 1; i <= accounts; i++ {
		if _, err := users.Create(b.ctx, user.User{Name: first.Name, Email: user.Email(address(i)), PasswordHash: first.PasswordHash}); err != nil {
			return err
		}
	}
	return nil
}

// mongoVariable names a real MongoDB to use, as it does for the tests.
const mongoVariable = "MONGODB_TEST_URI"

// startMongo returns the URI of an empty database.
func (b *bench) startMongo() (string, error) {
	if given := os.Getenv(mongoVariable); given != "" {
		u, err := url.Parse(given)
		if err != nil {
			return "", errors.New(mongoVariable + " must be a URI of one host")
		}
		u.Path = "/latchkey_bench_" + strconv.Itoa(os.Getpid())
		return u.String(), nil
	}
	uri, err := b.startSelf("MongoDB", "mongo", filepath.Join(b.dir, "mongo"))
	return uri + "latchkey", err
}

// dropMongo removes what is in a MongoDB that was given.
func (b *bench) dropMongo() {
	if os.Getenv(mongoVariable) == "" || b.mongoURI == "" {
		return
	}
	ctx, cancel := mongoconn.Bounded(b.ctx)
	defer cancel()
	db, err := mongoconn.Open(b.mongoURI, nil)
	if err == nil {
		err = errors.Join(db.Drop(ctx), db.Client().Disconnect(ctx))
	}
	if err != nil {
		b.say("its database stays in the MongoDB of %s: %v", mongoVariable, err)
	}
}

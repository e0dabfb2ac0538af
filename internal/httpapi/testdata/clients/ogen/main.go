// Ogen registers and logs in with the client that ogen generates.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"clients/ogen/api"
)

const (
	email    = "ogen@example.com"
	password = "correct horse battery"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// browser keeps the session cookie, which ogen asks for with each request.
type browser struct{ token string }

func (b *browser) Do(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	for _, cookie := range response.Cookies() {
		if cookie.Name == "sid" {
			b.token = cookie.Value
		}
	}

	return response, nil
}

func (b *browser) SessionCookie(context.Context, api.OperationName) (api.SessionCookie, error) {
	return api.SessionCookie{APIKey: b.token}, nil
}

func (*browser) PendingLoginCookie(context.Context, api.OperationName) (api.PendingLoginCookie, error) {
	return api.PendingLoginCookie{}, nil // only for logins with a second factor
}

func run(ctx context.Context, url string) error {
	b := &browser{}
	client, err := api.NewClient(url, b, api.WithClient(b))
	if err != nil {
		return err
	}

	registered, err := client.Register(ctx, &api.RegisterRequest{Name: "Ann", Email: email, Password: password})
	if err != nil {
		return err
	}
	if _, ok := registered.(*api.RegisterResultHeaders); !ok {
		return fmt.Errorf("register: got %T %+v", registered, registered)
	}

	refused, err := client.Login(ctx, &api.LoginRequest{Email: email, Password: "wrong"})
	if err != nil {
		return err
	}
	problem, ok := refused.(*api.InvalidCredentialsProblem)
	if !ok || problem.Code != api.InvalidCredentialsProblemCodeInvalidCredentials {
		return fmt.Errorf("login with a wrong password: got %T %+v", refused, refused)
	}

	answer, err := client.Login(ctx, &api.LoginRequest{Email: email, Password: password})
	if err != nil {
		return err
	}
	loggedIn, ok := answer.(*api.LoginResultHeaders)
	if !ok {
		return fmt.Errorf("login: got %T %+v", answer, answer)
	}

	user, ok := loggedIn.Response.User.Get()
	if !ok { // only accounts with a second factor
		return fmt.Errorf("login: got %+v, want a user", loggedIn.Response)
	}

	current, err := client.Session(ctx)
	if err != nil {
		return err
	}
	session, ok := current.(*api.SessionInfo)
	if !ok || session.UserId != user.ID || session.ExpiresAt.IsZero() {
		return fmt.Errorf("session: got %T %+v", current, current)
	}

	loggedOut, err := client.Logout(ctx)
	if err != nil {
		return err
	}
	if _, ok := loggedOut.(*api.LogoutResultHeaders); !ok {
		return fmt.Errorf("logout: got %T %+v", loggedOut, loggedOut)
	}

	return nil
}

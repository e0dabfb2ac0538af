// Oapicodegen registers and logs in with the client that oapi-codegen generates.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"os"

	"clients/oapicodegen/api"
)

const (
	email    = "oapi-codegen@example.com"
	password = "correct horse battery"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client, err := api.NewClientWithResponses(url, api.WithHTTPClient(&http.Client{Jar: jar}))
	if err != nil {
		return err
	}

	registered, err := client.RegisterWithResponse(ctx, api.RegisterRequest{Name: "Ann", Email: email, Password: password})
	if err != nil {
		return err
	}
	if registered.JSON201 == nil {
		return fmt.Errorf("register: got %s: %s", registered.Status(), registered.Body)
	}

	refused, err := client.LoginWithResponse(ctx, api.LoginRequest{Email: email, Password: "wrong"})
	if err != nil {
		return err
	}
	problem := refused.ApplicationproblemJSON401
	if problem == nil || problem.Code != api.InvalidCredentialsProblemCodeInvalidCredentials {
		return fmt.Errorf("login with a wrong password: got %s: %s", refused.Status(), refused.Body)
	}

	loggedIn, err := client.LoginWithResponse(ctx, api.LoginRequest{Email: email, Password: password})
	if err != nil {
		return err
	}
	if loggedIn.JSON200 == nil {
		return fmt.Errorf("login: got %s: %s", loggedIn.Status(), loggedIn.Body)
	}

	user := loggedIn.JSON200.User
	if user == nil { // only accounts with a second factor
		return fmt.Errorf("login: got %s, want a user", loggedIn.Body)
	}

	session, err := client.SessionWithResponse(ctx)
	if err != nil {
		return err
	}
	if session.JSON200 == nil || session.JSON200.UserId != user.Id || session.JSON200.ExpiresAt.IsZero() {
		return fmt.Errorf("session: got %s: %s", session.Status(), session.Body)
	}

	loggedOut, err := client.LogoutWithResponse(ctx)
	if err != nil {
		return err
	}
	if loggedOut.JSON200 == nil {
		return fmt.Errorf("logout: got %s: %s", loggedOut.Status(), loggedOut.Body)
	}

	return nil
}

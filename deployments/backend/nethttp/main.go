// Command nethttp is a backend with net/http whose users sign in with Latchkey.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"time"
)

var (
	latchkey       = cmp.Or(os.Getenv("LATCHKEY_URL"), "http://localhost:3000")
	sessionCookies = []string{"sid", "__Host-sid", "__Secure-sid"}
	client         = &http.Client{Timeout: 5 * time.Second}
)

type userID struct{}

func requireUser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check, _ := http.NewRequestWithContext(r.Context(), http.MethodGet, latchkey+"/auth/verify", nil)
		for _, cookie := range r.Cookies() {
			if slices.Contains(sessionCookies, cookie.Name) {
				check.AddCookie(cookie)
			}
		}
		res, err := client.Do(check)
		if err != nil {
			http.Error(w, "Try again later", http.StatusServiceUnavailable)
			return
		}
		defer func() { _ = res.Body.Close() }()

		id := res.Header.Get("X-Auth-User-Id")
		switch {
		case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(res.StatusCode)
			_, _ = io.Copy(w, res.Body)
		case id == "":
			http.Error(w, "Try again later", http.StatusServiceUnavailable)
		default:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userID{}, id)))
		}
	})
}

func orders(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"userId": r.Context().Value(userID{})})
	}
}

func main() {
	mux := http.NewServeMux()
	mux.Handle("GET /orders", orders(http.StatusOK))
	mux.Handle("POST /orders", orders(http.StatusCreated))

	server := &http.Server{
		Addr:              "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "8080"),
		Handler:           http.NewCrossOriginProtection().Handler(requireUser(mux)),
		ReadHeaderTimeout: 5 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}

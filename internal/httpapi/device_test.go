package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"latchkey/internal/user"
)

// The device cookie goes to this host only. Browsers send it when they return from a
// provider, whatever SameSite the session cookie has.
func TestDeviceCookie(t *testing.T) {
	t.Parallel()

	for want, session := range map[string]Cookie{
		"device Lax false":        {Name: "sid", SameSite: http.SameSiteLaxMode},
		"__Host-device Lax true":  {Name: "__Host-sid", Secure: true, SameSite: http.SameSiteStrictMode},
		"__Host-device None true": {Name: "sid", Domain: "example.com", Secure: true, SameSite: http.SameSiteNoneMode},
	} {
		w := httptest.NewRecorder()
		newDevices(session, [][]byte{[]byte("secret")}).remember(w, httptest.NewRequest(http.MethodPost, "/auth/login", nil), user.User{ID: exampleUser.ID})
		c := w.Result().Cookies()[0]
		sameSite := map[http.SameSite]string{http.SameSiteLaxMode: "Lax", http.SameSiteNoneMode: "None", http.SameSiteStrictMode: "Strict"}[c.SameSite]
		if got := fmt.Sprint(c.Name, " ", sameSite, " ", c.Secure); got != want || c.Domain != "" || c.Path != "/" || !c.HttpOnly || c.MaxAge != 400*24*60*60 {
			t.Errorf("%s is %s, want %s", session.Name, c, want)
		}
	}
}

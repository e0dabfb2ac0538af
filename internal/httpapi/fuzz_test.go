package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"latchkey/internal/auth"
	"latchkey/internal/locale"
	"latchkey/internal/loopback"
	"latchkey/internal/origin"
	"latchkey/internal/returnto"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// A body that is accepted has only one interpretation: a lenient decoder reads the same
// values and finds no others. Rejections are short.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"Ann","email":"ann@example.com","password":"password123"}`), "application/json")
	f.Add([]byte(`{"name":"Ann","Name":"Eve","email":"ann@example.com","password":"p\ud800ssword"}`), "application/json; charset=UTF-8")
	f.Add([]byte(`{"name":"Ann","name":"Eve"} {}`), "text/plain")
	f.Add([]byte("null"), "")
	rules := newRules(auth.MinPasswordLength, locale.ShippedSet())
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		r := httptest.NewRequest(http.MethodPost, "/auth/register", bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		in, err := decode[registerRequest](rules, r, body)
		var refused *failure
		switch {
		case errors.As(err, &refused):
			if refused.status < 400 || refused.status > 499 || len(refused.detail) > 200 || !utf8.ValidString(refused.detail) {
				t.Errorf("%q: rejection: got %+v", body, refused)
			}

			return
		case err != nil:
			t.Fatalf("%q: %v", body, err)
		}

		if mediaType, _, _ := strings.Cut(contentType, ";"); !strings.EqualFold(strings.TrimSpace(mediaType), "application/json") {
			t.Errorf("got a body with content type %q accepted", contentType)
		}

		names := membersOf(t, body)
		slices.Sort(names)
		if want := []string{"email", "name", "password"}; !slices.Equal(names, want) || !utf8.Valid(body) {
			t.Errorf("%q: members: got %q", body, names)
		}

		var lenient registerRequest
		if err := json.Unmarshal(body, &lenient); err != nil || check(rules, &lenient) != nil || !reflect.DeepEqual(lenient, in) {
			t.Errorf("%q: got %+v, encoding/json reads %+v (error %v)", body, in, lenient, err)
		}
	})
}

// membersOf returns the member names of an object that nothing may follow.
func membersOf(t *testing.T, body []byte) (names []string) {
	t.Helper()

	d := json.NewDecoder(bytes.NewReader(body))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		t.Fatalf("%q is not an object: %v", body, err)
	}

	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			t.Fatalf("%q: %v", body, err)
		}

		names = append(names, name.(string))
	}

	_, _ = d.Token()
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Errorf("%q has trailing data", body)
	}

	return names
}

// The client IP is that of the peer, or the last one that trusted proxies report. Anything
// to the left of it was written by the client.
func FuzzClientIP(f *testing.F) {
	f.Add("127.0.0.1:1234", "198.51.100.7, 203.0.113.1", "")
	f.Add("127.0.0.1:1234", "203.0.113.1", "10.1.2.3, ::ffff:10.0.0.1")
	f.Add("192.0.2.1:1234", "203.0.113.1", "")
	f.Add("[fe80::1%eth0]:1", "unknown", ",,")
	f.Add("127.0.0.1:1234", "203.0.113.1", "10.0.0.1:80")
	f.Add("127.0.0.1:1234", "198.51.100.7", "2001:db9::1")
	f.Add("127.0.0.1:1234", "198.51.100.7, 203.0.113.1:51234", "[2001:db8::7]:443, [2001:db8::8]")
	f.Add("127.0.0.1:1234", "198.51.100.7, [203.0.113.1", "")
	proxies := []string{"127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"}
	clients := newClientIPs(proxies, slog.New(slog.DiscardHandler))
	trusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(proxies, func(p string) bool { return netip.MustParsePrefix(p).Contains(a) })
	}

	f.Fuzz(func(t *testing.T, peer, first, second string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = peer
		r.Header["X-Forwarded-For"] = []string{first, second}
		got := clients.of(r)

		at, err := netip.ParseAddrPort(peer)
		if err != nil {
			return // net/http has no such peer
		}

		if !trusted(at.Addr().Unmap().WithZone("")) {
			if want, err := netip.ParseAddr(got); err != nil || want.Unmap() != at.Addr().Unmap() {
				t.Errorf("peer %s is not a proxy: client IP: got %s, want its own", peer, got)
			}

			return
		}

		want := at.Addr().String()
		for _, entry := range slices.Backward(strings.Split(first+","+second, ",")) {
			if entry = strings.TrimSpace(entry); entry == "" {
				continue
			}

			named, err := netip.ParseAddr(entry)
			if err != nil && strings.HasPrefix(entry, "[") && strings.HasSuffix(entry, "]") {
				named, err = netip.ParseAddr(entry[1 : len(entry)-1])
			}
			if err != nil {
				var at netip.AddrPort
				at, err = netip.ParseAddrPort(entry)
				named = at.Addr()
			}
			if err != nil {
				break // and nothing to the left of it counts
			}

			if named = named.Unmap().WithZone(""); !trusted(named) {
				want = named.String()
				break
			}
		}

		if got != want {
			t.Errorf("%s with %q and %q: the client is %s, want %s", peer, first, second, got, want)
		}
	})
}

// A browser is always redirected to a listed origin, as browsers parse URLs, and an added
// error changes only the query.
func FuzzReturnTo(f *testing.F) {
	for _, given := range []string{
		"", "/", "/a?b=c#d", "//evil.example", "/\\evil.example", "https://app.example.com.evil.example", "https://app.example.com@evil.example",
		"http://localhost:3001/x", "https://app.example.com?error=x", "/%2e%2e//evil.example", "https:/\t/evil.example", "/?a=%3Berror=x;error=y",
	} {
		f.Add(given, "access_denied")
	}

	o, err := newOrigins(origin.Trusted{Listed: []string{"https://app.example.com", "http://localhost:3001"}}, true)
	testkit.NoError(f, err)
	f.Fuzz(func(t *testing.T, given, code string) {
		to, ok := o.returnTo(given)
		if !ok {
			if to != "" {
				t.Errorf("%q: got %q for a rejected URL, want none", given, to)
			}

			return
		}

		if again, ok := o.returnTo(to); !ok || again != to {
			t.Errorf("%q: got %q the first time and %q (accepted %v) the second time", given, to, again, ok)
		}

		failed := returnto.WithError(to, code)
		for _, target := range []string{to, failed} {
			if !slices.Contains(o.trusted.Listed, asBrowser(target)) {
				t.Errorf("%q: redirect: got %q, want a listed origin", given, target)
			}
		}

		u, err := url.Parse(failed)
		testkit.NoError(t, err)
		if got := u.Query()["error"]; len(got) != 1 || got[0] != code {
			t.Errorf("%q with error %q: got %q", given, code, failed)
		}
	})
}

// asBrowser returns the origin of a URL as browsers parse it (URL Standard section 4.4):
// without tabs and line breaks, and with backslashes as slashes.
func asBrowser(target string) (origin string) {
	target = strings.NewReplacer("\t", "", "\n", "", "\r", "", "\\", "/").Replace(strings.TrimFunc(target, func(r rune) bool { return r <= ' ' }))
	scheme, rest, ok := strings.Cut(target, ":")
	if !ok || strings.Contains(scheme, "/") {
		return "relative"
	}

	rest = strings.TrimLeft(rest, "/")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}

	return strings.ToLower(scheme) + "://" + strings.ToLower(rest[strings.LastIndexByte(rest, '@')+1:])
}

// Only a cookie that the server set makes a device known, whatever cookie the browser had
// before, and it fits the size limit of browsers.
func FuzzDevice(f *testing.F) {
	d := newDevices(Cookie{Name: "sid"}, [][]byte{[]byte("first"), []byte("second")})
	name := strings.Repeat("A", 22)
	f.Add("device="+name+".x:y:z", "0123456789abcdef01234567")
	f.Add("device="+name+strings.Repeat(".", 9), "0123456789abcdef01234567")
	f.Add("device=; device="+name, "")
	f.Fuzz(func(t *testing.T, header, id string) {
		if !user.IsID(id) {
			return
		}

		ann := user.User{ID: id, DeviceGeneration: "NOW"}
		eve := user.User{ID: strings.Repeat("e", 24), DeviceGeneration: "NOW"}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Cookie"] = []string{header}
		if p := d.proofs(r); !p.Empty() {
			t.Errorf("cookie %q: got proofs %v, want none", header, p)
		}

		w := httptest.NewRecorder()
		d.remember(w, r, ann)
		cookies := w.Result().Cookies()
		if len(cookies) != 1 || cookies[0].Name != "device" || len(cookies[0].Value) > 4096 {
			t.Fatalf("cookie %q: Set-Cookie: got %q", header, w.Header()["Set-Cookie"])
		}

		back := httptest.NewRequest(http.MethodGet, "/", nil)
		back.AddCookie(&http.Cookie{Name: "device", Value: cookies[0].Value})
		if !d.knows(back, ann) || d.knows(back, eve) {
			t.Errorf("cookie %q: device of the new cookie %q: want it known to this account only", header, cookies[0].Value)
		}
	})
}

// A request from an origin that is neither the API's own nor listed is rejected, however
// the headers are written.
func FuzzOrigin(f *testing.F) {
	f.Add("https://app.example.com", "api.example.com", "cross-site")
	f.Add("https://api.example.com", "api.example.com", "same-origin")
	f.Add("http://localhost:3000", "localhost:3000", "")
	f.Add("null", "", "none")
	f.Add("https://api.example.com.", "api.example.com", "same-site")
	o, err := newOrigins(origin.Trusted{Listed: []string{"https://app.example.com"}}, true)
	testkit.NoError(f, err)
	f.Fuzz(func(t *testing.T, origin, host, site string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Host = host
		r.Header["Origin"] = []string{origin}
		if site != "" {
			r.Header["Sec-Fetch-Site"] = []string{site}
		}

		if !o.allows(r) {
			return
		}

		if origin == o.trusted.Listed[0] {
			return
		}

		if site != "" && site != "same-origin" && site != "none" {
			t.Errorf("origin %q (Sec-Fetch-Site %s): request accepted, want it rejected", origin, site)
		}

		name, _, _ := strings.Cut(strings.TrimPrefix(host, "["), "]")
		if !strings.HasPrefix(host, "[") {
			name, _, _ = strings.Cut(host, ":")
		}

		here := origin == "https://"+host || origin == "http://"+host && loopback.Host(name)
		if !here || host == "" {
			t.Errorf("origin %q: request to %q accepted, want it rejected", origin, host)
		}
	})
}

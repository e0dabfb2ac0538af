package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"latchkey/internal/session"
)

// A body is taken only where it can be read in one way: a lenient decoder reads the same
// in it, and finds nothing else there. What is refused is refused with few words.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"Ann","email":"ann@example.com","password":"password123"}`), "application/json")
	f.Add([]byte(`{"name":"Ann","Name":"Eve","email":"ann@example.com","password":"p\ud800ssword"}`), "application/json; charset=UTF-8")
	f.Add([]byte(`{"name":"Ann","name":"Eve"} {}`), "text/plain")
	f.Add([]byte("null"), "")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		r := httptest.NewRequest(http.MethodPost, "/auth/register", bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		in, err := decode[registerRequest](httptest.NewRecorder(), r)
		var refused *failure
		switch {
		case errors.As(err, &refused):
			if refused.status < 400 || refused.status > 499 || len(refused.detail) > 200 || !utf8.ValidString(refused.detail) {
				t.Errorf("%q: %+v", body, refused)
			}
			return
		case err != nil:
			t.Fatalf("%q: %v", body, err)
		}
		if mediaType, _, _ := strings.Cut(contentType, ";"); !strings.EqualFold(strings.TrimSpace(mediaType), "application/json") {
			t.Errorf("a body of type %q", contentType)
		}
		names := membersOf(t, body)
		slices.Sort(names)
		if want := []string{"email", "name", "password"}; !slices.Equal(names, want) || !utf8.Valid(body) {
			t.Errorf("%q has %q", body, names)
		}
		var lenient registerRequest
		if err := json.Unmarshal(body, &lenient); err != nil || !reflect.DeepEqual(lenient, in) {
			t.Errorf("%q is %+v, and to encoding/json %+v, %v", body, in, lenient, err)
		}
	})
}

// membersOf are the names of the members of an object, of which nothing may follow.
func membersOf(t *testing.T, body []byte) (names []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		t.Fatalf("%q is no object: %v", body, err)
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
		t.Errorf("more follows in %q", body)
	}
	return names
}

// Whatever stands in the Cookie header, Redis is asked only about one cookie of ours that
// has the form of a token: here it is away, so that asking is 503. Whoever brings none is
// a stranger, and of several cookies none is dropped.
func FuzzSessionCookie(f *testing.F) {
	token := strings.Repeat("A", 43)
	for _, header := range []string{"", "sid=", "sid=" + token, `sid="` + token + `"`, "sid=" + token + "; sid=" + token, "a=b;sid=" + token + " ;", "SID=" + token, "sid=" + token[:42] + "B"} {
		f.Add(header, "")
		f.Add(header, "sid="+token)
	}
	s := newSite(f, setup{redis: nowhereRedis, mongo: "mongodb://127.0.0.1:1/x"})
	f.Fuzz(func(t *testing.T, first, second string) {
		r := httptest.NewRequest(http.MethodGet, "/auth/session", nil)
		r.Header["Cookie"] = []string{first, second}
		var named, tokens int // cookies of the name, and those of them that may be a session
		for _, line := range r.Header["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.TrimSpace(name) == "sid" {
					named++
					if session.WellFormed(strings.Trim(strings.TrimSpace(value), `"`)) {
						tokens++
					}
				}
			}
		}
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, r)
		s.log.reset()
		switch {
		case w.Code == http.StatusRequestHeaderFieldsTooLarge && strings.Count(first+second, ";")+2 > maxCookies:
		case w.Code == http.StatusServiceUnavailable && tokens > 0:
			if len(w.Header()["Set-Cookie"]) != 0 {
				t.Errorf("%q and %q: a cookie is set while Redis is away", first, second)
			}
		case w.Code == http.StatusUnauthorized && (tokens == 0 || named > 1):
			for _, set := range w.Header()["Set-Cookie"] {
				if !strings.HasPrefix(set, "sid=; ") || !strings.Contains(set, "Max-Age=0") {
					t.Errorf("%q and %q: the answer sets %s", first, second, set)
				}
			}
		default:
			t.Errorf("%q and %q: %d, with %d cookies of the name and %d tokens", first, second, w.Code, named, tokens)
		}
	})
}

// The client is the peer, or the last one that proxies name who are trusted, and not
// what stands to the left of it: that is what the client wrote itself.
func FuzzClientIP(f *testing.F) {
	f.Add("127.0.0.1:1234", "198.51.100.7, 203.0.113.1", "")
	f.Add("127.0.0.1:1234", "203.0.113.1", "10.1.2.3, ::ffff:10.0.0.1")
	f.Add("192.0.2.1:1234", "203.0.113.1", "")
	f.Add("[fe80::1%eth0]:1", "unknown", ",,")
	f.Add("127.0.0.1:1234", "203.0.113.1", "10.0.0.1:80")
	s := &Server{proxies: []string{"127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"}}
	trusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(s.proxies, func(p string) bool { return netip.MustParsePrefix(p).Contains(a) })
	}
	f.Fuzz(func(t *testing.T, peer, first, second string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = peer
		r.Header["X-Forwarded-For"] = []string{first, second}
		got := "none"
		s.clientIP()(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = clientIP(r) })).ServeHTTP(nil, r)

		at, err := netip.ParseAddrPort(peer)
		if err != nil {
			return // net/http has no such peer
		}
		if !trusted(at.Addr().Unmap().WithZone("")) {
			if want, err := netip.ParseAddr(got); err != nil || want.Unmap() != at.Addr().Unmap() {
				t.Errorf("%s, who is no proxy, passes as %s", peer, got)
			}
			return
		}
		want := at.Addr().String()
		for _, entry := range slices.Backward(strings.Split(first+","+second, ",")) {
			if entry = strings.TrimSpace(entry); entry == "" {
				continue
			}
			named, err := netip.ParseAddr(entry)
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

// Wherever a browser is sent at the end of a sign-in, it is under a listed origin as a
// browser reads addresses, and an error that is added changes nothing but the query.
func FuzzReturnTo(f *testing.F) {
	for _, given := range []string{
		"", "/", "/a?b=c#d", "//evil.example", "/\\evil.example", "https://app.example.com.evil.example", "https://app.example.com@evil.example",
		"http://localhost:3001/x", "https://app.example.com?error=x", "/%2e%2e//evil.example", "https:/\t/evil.example", "/?a=%3Berror=x;error=y",
	} {
		f.Add(given, "access_denied")
	}
	o, err := newOrigins([]string{"https://app.example.com", "http://localhost:3001"}, true)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, given, code string) {
		to, ok := o.returnTo(given)
		if !ok {
			if to != "" {
				t.Errorf("%q is refused, and is %q", given, to)
			}
			return
		}
		if again, ok := o.returnTo(to); !ok || again != to {
			t.Errorf("%q is %q, which is %q, %v", given, to, again, ok)
		}
		failed := withError(to, code)
		for _, address := range []string{to, failed} {
			if !slices.Contains(o.listed, asBrowser(address)) {
				t.Errorf("%q leads to %q", given, address)
			}
		}
		u, err := url.Parse(failed)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.Query()["error"]; len(got) != 1 || got[0] != code {
			t.Errorf("%q with the error %q is %q", given, code, failed)
		}
	})
}

// asBrowser is the origin of an address as browsers read it (URL Standard section 4.4):
// without tabs and line breaks, and with backslashes for slashes.
func asBrowser(address string) (origin string) {
	address = strings.NewReplacer("\t", "", "\n", "", "\r", "", "\\", "/").Replace(strings.TrimFunc(address, func(r rune) bool { return r <= ' ' }))
	scheme, rest, ok := strings.Cut(address, ":")
	if !ok || strings.Contains(scheme, "/") {
		return "relative"
	}
	rest = strings.TrimLeft(rest, "/")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return strings.ToLower(scheme) + "://" + strings.ToLower(rest[strings.LastIndexByte(rest, '@')+1:])
}

// No cookie that was not made here makes a device known, and one that was is known again,
// whatever the browser brought before; it fits into a browser.
func FuzzDevice(f *testing.F) {
	d := newDevices(Cookie{Name: "sid"}, [][]byte{[]byte("first"), []byte("second")})
	name := strings.Repeat("A", 22)
	f.Add("device="+name+".x.y", "ann@example.com")
	f.Add("device="+name+strings.Repeat(".", 9), "ann@example.com")
	f.Add("device=; device="+name, "")
	f.Fuzz(func(t *testing.T, header, account string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Cookie"] = []string{header}
		if known := d.known(r, account); known != "" {
			t.Errorf("%q is known as %s", header, known)
		}
		w := httptest.NewRecorder()
		d.remember(w, r, account)
		cookies := w.Result().Cookies()
		if len(cookies) != 1 || cookies[0].Name != "device" || len(cookies[0].Value) > 4096 {
			t.Fatalf("%q leaves %q", header, w.Header()["Set-Cookie"])
		}
		back := httptest.NewRequest(http.MethodGet, "/", nil)
		back.AddCookie(&http.Cookie{Name: "device", Value: cookies[0].Value})
		if d.known(back, account) == "" || d.known(back, account+"x") != "" {
			t.Errorf("%q is not known by %q, or to others", header, cookies[0].Value)
		}
	})
}

// A request that names another origin than ours or a listed one changes nothing, however
// it is written; nor does one that comes from another site.
func FuzzOrigin(f *testing.F) {
	f.Add("https://app.example.com", "api.example.com", "cross-site")
	f.Add("https://api.example.com", "api.example.com", "same-origin")
	f.Add("http://localhost:3000", "localhost:3000", "")
	f.Add("null", "", "none")
	f.Add("https://api.example.com.", "api.example.com", "same-site")
	o, err := newOrigins([]string{"https://app.example.com"}, true)
	if err != nil {
		f.Fatal(err)
	}
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
		if origin == o.listed[0] {
			return
		}
		if site != "" && site != "same-origin" && site != "none" {
			t.Errorf("a page of %q (%s) may change something", origin, site)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(host, "["), "]")
		if !strings.HasPrefix(host, "[") {
			name, _, _ = strings.Cut(host, ":")
		}
		here := origin == "https://"+host || origin == "http://"+host && loopback(name)
		if !here || host == "" {
			t.Errorf("a page of %q may change something at %q", origin, host)
		}
	})
}

package httpapi

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/asset"
	"latchkey/internal/testkit"
)

// requestDocs sends a request to the API. Headers are given as names and values.
func requestDocs(api http.Handler, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}

	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)

	return w.Result()
}

var linkPattern = regexp.MustCompile(`(?:href|src)="([^"]+)"`)

func TestDocsAreCompressedAndCached(t *testing.T) {
	t.Parallel()

	api := apiWithoutStores()

	site, err := loadDocs()
	testkit.NoError(t, err)

	for path, wantCaching := range map[string]string{
		"/docs":         asset.Revalidate,
		"/openapi.json": asset.Revalidate,
		"/postman.json": asset.Revalidate,
		"/client.js":    asset.Revalidate,
		"/client.d.ts":  asset.Revalidate,
		"/docs/" + site.version + "/swagger-ui-bundle.js": asset.Forever,
		"/docs/" + site.version + "/page.css":             asset.Forever,
		"/docs/" + site.version + "/icon.svg":             asset.Forever,
		"/docs/older-version/page.css":                    asset.Revalidate,
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()

			plain := requestDocs(api, "GET", path)
			content := readAll(t, plain)
			zipped := requestDocs(api, "GET", path, "Accept-Encoding", "br, gzip")
			unzipped, err := decompress(readAll(t, zipped))
			testkit.NoError(t, err)

			if len(content) == 0 || !bytes.Equal(unzipped, content) {
				t.Errorf("got %d bytes compressed, %d without compression, want the same", len(unzipped), len(content))
			}

			if plain.Header.Get("Etag") == zipped.Header.Get("Etag") {
				t.Errorf("both forms have the ETag %s", plain.Header.Get("Etag"))
			}

			for encoding, res := range map[string]*http.Response{"": plain, "gzip": zipped} {
				if got := res.Header.Get("Content-Encoding"); got != encoding {
					t.Errorf("Content-Encoding is %q, want %q", got, encoding)
				}

				if got := res.Header.Get("Cache-Control"); got != wantCaching {
					t.Errorf("Cache-Control is %q, want %q", got, wantCaching)
				}

				if !strings.Contains(strings.Join(res.Header.Values("Vary"), ","), "Accept-Encoding") {
					t.Errorf("Vary is %q, want Accept-Encoding", res.Header.Values("Vary"))
				}
			}

			tag := zipped.Header.Get("Etag")
			for _, condition := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
				res := requestDocs(api, "GET", path, "Accept-Encoding", "gzip", "If-None-Match", condition)
				if body := readAll(t, res); res.StatusCode != http.StatusNotModified || len(body) != 0 {
					t.Errorf("If-None-Match %s: status %d with %d bytes, want 304 without a body", condition, res.StatusCode, len(body))
				}
			}

			res := requestDocs(api, "GET", path, "If-None-Match", tag) // the tag of the other form
			if res.StatusCode != http.StatusOK {
				t.Errorf("If-None-Match without gzip: status %d, want 200", res.StatusCode)
			}
		})
	}
}

// Each file is decompressed only once for clients without gzip. Decompressing the script for each
// request would take 8 ms of CPU time.
func TestDocsAreDecompressedOnce(t *testing.T) {
	t.Parallel()

	site, err := loadDocs()
	testkit.NoError(t, err)

	for name, file := range site.files {
		first, err := file.Plain()
		testkit.NoError(t, err)
		second, err := file.Plain()
		testkit.NoError(t, err)

		if &first[0] != &second[0] {
			t.Errorf("%s: the second request got a new copy, want the same bytes", name)
		}
	}
}

func TestBrowsersAreRedirectedToDocs(t *testing.T) {
	t.Parallel()

	api := apiWithoutStores()

	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, test := range []struct {
		method, path, accept string
		status               int
		location             string
	}{
		{"GET", "/", browser, http.StatusFound, "docs"},
		{"HEAD", "/", browser, http.StatusFound, "docs"},
		{"GET", "/docs/", browser, http.StatusFound, "../docs"},
		{"GET", "/", "*/*", http.StatusNotFound, ""},
		{"GET", "/", "", http.StatusNotFound, ""},
		{"GET", "/", "application/json", http.StatusNotFound, ""},
		{"POST", "/", browser, http.StatusNotFound, ""},
		{"GET", "/nothing", browser, http.StatusNotFound, ""},
	} {
		res := requestDocs(api, test.method, test.path, "Accept", test.accept)
		if got := res.Header.Get("Location"); res.StatusCode != test.status || got != test.location {
			t.Errorf("%s %s, Accept %q: status %d, Location %q, want %d, %q", test.method, test.path, test.accept, res.StatusCode, got, test.status, test.location)
		}

		if res.StatusCode == http.StatusNotFound && res.Header.Get("Content-Type") != "application/problem+json; charset=utf-8" {
			t.Errorf("%s %s: Content-Type is %q, want a problem document", test.method, test.path, res.Header.Get("Content-Type"))
		}
	}
}

// The documentation page loads only its own files, also through a proxy that serves the API
// under /api/. A browser test (docs.test.mjs) does the same in Chromium.
func TestDocsBehindPathPrefix(t *testing.T) {
	t.Parallel()

	proxy := httptest.NewServer(http.StripPrefix("/api", apiWithoutStores()))
	t.Cleanup(proxy.Close)

	for _, path := range []string{"/api/", "/api/docs/", "/api/docs"} {
		req, err := http.NewRequest(http.MethodGet, proxy.URL+path, nil)
		testkit.NoError(t, err)
		req.Header.Set("Accept", "text/html")

		res, err := proxy.Client().Do(req)
		testkit.NoError(t, err)
		page := readAll(t, res)
		if got := res.Request.URL.Path; got != "/api/docs" || res.StatusCode != http.StatusOK {
			t.Errorf("GET %s led to %s with status %d, want /api/docs with 200", path, got, res.StatusCode)
		}
		if got := res.Header.Get("Content-Security-Policy"); got != docsPolicy {
			t.Errorf("Content-Security-Policy is %q, want %q", got, docsPolicy)
		}

		links := linkPattern.FindAllStringSubmatch(string(page), -1)
		if len(links) < 6 {
			t.Fatalf("the page has %d links, want at least 6:\n%s", len(links), page)
		}

		for _, link := range links {
			target, err := res.Request.URL.Parse(link[1])
			testkit.NoError(t, err)
			if target.Host != res.Request.URL.Host {
				t.Errorf("%s is the URL of another server", link[1])
				continue
			}

			linked, err := proxy.Client().Get(target.String())
			testkit.NoError(t, err)
			readAll(t, linked)
			if linked.StatusCode != http.StatusOK {
				t.Errorf("GET %s: status %d, want 200", target, linked.StatusCode)
			}
		}
	}
}

func readAll(t *testing.T, res *http.Response) []byte {
	t.Helper()

	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	testkit.NoError(t, err)

	return body
}

func decompress(compressed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}

	return io.ReadAll(r)
}

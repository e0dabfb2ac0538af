package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

const (
	// cacheForever is for URLs that contain the version of their content.
	cacheForever = "public, max-age=31536000, immutable"
	// cacheAndRevalidate makes clients ask whether their copy is current.
	cacheAndRevalidate = "no-cache"
)

// asset is a public file that does not change while the server runs. It is compressed
// once, and clients that have it already get a 304.
type asset struct {
	contentType string
	compressed  []byte // with gzip
	plain       func() ([]byte, error)
	hash        string
}

// newAsset returns an asset whose name has the extension of its type.
func newAsset(name string, content []byte) (*asset, error) {
	compressed, err := compress(content)
	if err != nil {
		return nil, err
	}

	return &asset{
		contentType: contentType(name),
		compressed:  compressed,
		plain:       func() ([]byte, error) { return content, nil },
		hash:        digest(content),
	}, nil
}

// newCompressedAsset returns an asset from a gzip file. It is decompressed only if a client
// does not accept gzip, and only once.
func newCompressedAsset(name string, compressed []byte) *asset {
	return &asset{
		contentType: contentType(name),
		compressed:  compressed,
		plain:       sync.OnceValues(func() ([]byte, error) { return decompress(compressed) }),
		hash:        digest(compressed),
	}
}

// serve writes the asset.
func (a *asset) serve(w http.ResponseWriter, r *http.Request, caching string) error {
	useGzip := acceptsGzip(r.Header.Get("Accept-Encoding"))

	tag := `"` + a.hash + `"`
	if useGzip {
		tag = `"` + a.hash + `-gzip"` // the bytes differ, so the tag must differ (RFC 9110, 8.8.3.3)
	}

	h := w.Header()
	h.Set("Cache-Control", caching)
	h.Set("Etag", tag)
	h.Add("Vary", "Accept-Encoding")

	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}

	if useGzip {
		h.Set("Content-Encoding", "gzip")
		writeBody(w, http.StatusOK, a.contentType, a.compressed)
		return nil
	}

	content, err := a.plain()
	if err != nil {
		return err
	}
	writeBody(w, http.StatusOK, a.contentType, content)

	return nil
}

// acceptsGzip reports whether an Accept-Encoding header allows gzip.
func acceptsGzip(header string) bool {
	accepted := false
	for option := range strings.SplitSeq(header, ",") {
		coding, parameter, _ := strings.Cut(option, ";")

		weight := 1.0
		if value, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
			weight, _ = strconv.ParseFloat(value, 64)
		}

		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			return weight > 0
		case "*":
			accepted = weight > 0
		}
	}

	return accepted
}

// matches reports whether an If-None-Match header contains an entity tag. Weak tags match,
// too: proxies that compress responses weaken tags.
func matches(header, tag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == tag || candidate == "*" {
			return true
		}
	}

	return false
}

// contentTypes maps the extensions of assets to media types. Package mime would read them from
// files on the machine, which may have other types, or no charset (OWASP ASVS 5.0 4.1.1).
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json; charset=utf-8",
	".svg":  "image/svg+xml; charset=utf-8",
	".ts":   "text/plain; charset=utf-8", // TypeScript has no media type
}

func contentType(name string) string { return contentTypes[path.Ext(name)] }

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func compress(content []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}

	err = w.Close()
	return b.Bytes(), err
}

func decompress(compressed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}

	return io.ReadAll(r)
}

package asset

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
	// Forever is for URLs that contain the version of their content.
	Forever = "public, max-age=31536000, immutable"
	// Revalidate makes clients ask whether their copy is current.
	Revalidate = "no-cache"
)

// File is a public file that does not change while the server runs. It is compressed
// once, and clients that have it already get a 304.
type File struct {
	contentType string
	compressed  []byte // with gzip
	plain       func() ([]byte, error)
	hash        string
}

// New returns a File whose name has the extension of its type.
func New(name string, content []byte) (*File, error) {
	compressed, err := compress(content)
	if err != nil {
		return nil, err
	}

	return &File{
		contentType: contentType(name),
		compressed:  compressed,
		plain:       func() ([]byte, error) { return content, nil },
		hash:        Digest(content),
	}, nil
}

// NewCompressed returns a File from a gzip file. It is decompressed only if a client
// does not accept gzip, and only once.
func NewCompressed(name string, compressed []byte) *File {
	return &File{
		contentType: contentType(name),
		compressed:  compressed,
		plain:       sync.OnceValues(func() ([]byte, error) { return decompress(compressed) }),
		hash:        Digest(compressed),
	}
}

// Hash identifies the content of the file.
func (f *File) Hash() string { return f.hash }

// Plain returns the content without compression.
func (f *File) Plain() ([]byte, error) { return f.plain() }

// Serve responds with the file. caching is the Cache-Control header.
func (f *File) Serve(w http.ResponseWriter, r *http.Request, caching string) error {
	useGzip := acceptsGzip(r.Header.Get("Accept-Encoding"))

	tag := `"` + f.hash + `"`
	if useGzip {
		tag = `"` + f.hash + `-gzip"` // the bytes differ, so the tag must differ (RFC 9110, 8.8.3.3)
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
		writeBody(w, f.contentType, f.compressed)
		return nil
	}

	content, err := f.plain()
	if err != nil {
		return err
	}
	writeBody(w, f.contentType, content)

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

// Digest returns a short hash of the content of a file.
func Digest(content []byte) string {
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

// writeBody responds with a body.
func writeBody(w http.ResponseWriter, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))

	// An error means that the client has closed the connection.
	_, _ = w.Write(body)
}

package auth

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // required by the API
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// breachTimeout limits the whole request, because a user is waiting for it.
	breachTimeout = 1500 * time.Millisecond
	// maxRange is the maximum size of a response in bytes. A typical one has 40 KiB.
	maxRange = 1 << 20
	// prefixLength is the number of hash digits that are sent. Hundreds of breached passwords
	// share each prefix.
	prefixLength = 5
)

// breach is a client of the range API of Have I Been Pwned. The service only receives a
// prefix of the password's hash, so it learns neither the password nor whether it is listed.
type breach struct {
	url     string
	client  *http.Client
	timeout time.Duration
	log     *slog.Logger
}

func newBreach(url string, log *slog.Logger) *breach {
	return &breach{
		url: strings.TrimRight(url, "/"),
		client: &http.Client{
			Transport: http.DefaultTransport.(*http.Transport).Clone(),
			// Do not follow redirects: the prefix is meant only for the configured service.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: breachTimeout,
		log:     log,
	}
}

// listed reports whether a password is known to be breached (OWASP ASVS 5.0 6.2.12). If the
// request fails, it logs a warning and returns false, so that users can sign up while the
// service is down.
func (b *breach) listed(ctx context.Context, password string) bool {
	sum := sha1.Sum([]byte(password)) //nolint:gosec // required by the API; nothing is stored
	hash := strings.ToUpper(hex.EncodeToString(sum[:]))
	prefix := hash[:prefixLength]
	suffix := hash[prefixLength:]

	found, err := b.query(ctx, prefix, suffix)
	if err != nil && ctx.Err() == nil {
		b.log.WarnContext(ctx, "cannot check whether a password is breached", "error", redact(err, prefix))
	}

	return found
}

// query requests all suffixes that share the prefix, and reports whether suffix is among them.
func (b *breach) query(ctx context.Context, prefix, suffix string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/"+prefix, nil)
	if err != nil {
		return false, errors.New("invalid URL") // err contains the URL, possibly with credentials
	}
	req.Header.Set("User-Agent", "latchkey")
	// Padded responses all have about the same size, so the size does not reveal the prefix.
	req.Header.Set("Add-Padding", "true")

	res, err := b.client.Do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = res.Body.Close() }()

	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("status %d", res.StatusCode)
	}

	return inRange(res.Body, suffix)
}

// inRange reports whether a response, which has lines of the form SUFFIX:COUNT, contains a
// suffix. A line whose count is 0 is padding.
func inRange(body io.Reader, suffix string) (bool, error) {
	limited := &io.LimitedReader{R: body, N: maxRange + 1}
	lines := bufio.NewScanner(limited) // also accepts CRLF

	for lines.Scan() {
		got, count, _ := strings.Cut(lines.Text(), ":")
		isNumber := count != "" && strings.Trim(count, "0123456789") == ""
		if len(got) != len(suffix) || !isNumber {
			return false, errors.New("malformed response")
		}

		isPadding := strings.Trim(count, "0") == ""
		if strings.EqualFold(got, suffix) && !isPadding {
			return true, nil
		}
	}

	if limited.N == 0 {
		return false, fmt.Errorf("response exceeds %d bytes", maxRange)
	}

	return false, lines.Err()
}

// redact returns the text of err without the URL, which may contain credentials, and without
// the hash prefix, which would help to guess the password.
func redact(err error, prefix string) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}

	return strings.ReplaceAll(err.Error(), prefix, "*****")
}

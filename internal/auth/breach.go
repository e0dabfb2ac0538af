package auth

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // the protocol's
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
	// breachLimit is for the whole question: someone waits at a form.
	breachLimit = 1500 * time.Millisecond
	// maxRange bounds an answer, which has about 40 KiB.
	maxRange = 1 << 20
	// prefixLength is how much of a hash is told: hundreds of listed passwords share it.
	prefixLength = 5
)

var (
	errRangeTooLong = fmt.Errorf("the answer has more than %d bytes", maxRange)
	errRangeGarbage = errors.New("the answer is not that of a range")
	errRangeURL     = errors.New("the address is not a URL")
)

// breach asks a list of breached passwords by the range protocol of Have I Been Pwned,
// so that the list learns neither the password nor whether it has it.
type breach struct {
	url    string
	client *http.Client
	limit  time.Duration
	log    *slog.Logger
}

func newBreach(url string, log *slog.Logger) *breach {
	return &breach{
		url: strings.TrimRight(url, "/"),
		client: &http.Client{
			Transport: http.DefaultTransport.(*http.Transport).Clone(),
			// A redirect would tell the prefix to whom the operator did not choose.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		limit: breachLimit,
		log:   log,
	}
}

// listed tells whether a password is in the list (OWASP ASVS 5.0 6.2.12). What
// cannot be asked is taken for not listed, and logged: otherwise nobody could sign up
// while someone else's service is down.
func (b *breach) listed(ctx context.Context, password string) bool {
	sum := sha1.Sum([]byte(password)) //nolint:gosec // the protocol's; nothing is stored
	hash := strings.ToUpper(hex.EncodeToString(sum[:]))
	prefix, suffix := hash[:prefixLength], hash[prefixLength:]
	found, err := b.ask(ctx, prefix, suffix)
	if err != nil && ctx.Err() == nil {
		b.log.WarnContext(ctx, "the list of breached passwords could not be asked", "error", redact(err, prefix))
	}
	return found
}

func (b *breach) ask(ctx context.Context, prefix, suffix string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/"+prefix, nil)
	if err != nil {
		return false, errRangeURL // err would show it, maybe with its credentials
	}
	req.Header.Set("User-Agent", productName)
	// Answers of one length do not tell an onlooker which range it was.
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

// inRange looks for a suffix in an answer of lines SUFFIX:COUNT. One of count 0 is
// padding.
func inRange(body io.Reader, suffix string) (bool, error) {
	limited := &io.LimitedReader{R: body, N: maxRange + 1}
	lines := bufio.NewScanner(limited) // also takes CRLF
	for lines.Scan() {
		got, count, _ := strings.Cut(lines.Text(), ":")
		if len(got) != len(suffix) || count == "" || strings.Trim(count, "0123456789") != "" {
			return false, errRangeGarbage
		}
		if strings.EqualFold(got, suffix) && strings.Trim(count, "0") != "" {
			return true, nil
		}
	}
	if limited.N == 0 {
		return false, errRangeTooLong
	}
	return false, lines.Err()
}

// redact is the text of an error without the address, which may hold credentials, and
// without the prefix, which in a log would be a hint at someone's password.
func redact(err error, prefix string) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return strings.ReplaceAll(err.Error(), prefix, "*****")
}

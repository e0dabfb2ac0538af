package factor

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"rsc.io/qr"
)

// URI returns the URI with which an authenticator app adds an account, in the "Key URI Format" of
// Google Authenticator. issuer is the name of the application and account is the name of the
// account, usually its email. The app shows both.
//
// The URI contains the secret: it must be neither logged nor stored.
func URI(issuer, account string, secret []byte) string {
	label := escape(issuer) + ":" + escape(account)

	return fmt.Sprintf("otpauth://totp/%s?secret=%s&issuer=%s&algorithm=SHA1&digits=%d&period=%d",
		label, EncodeSecret(secret), escape(issuer), Digits, Period/time.Second)
}

// escape escapes all characters that have a meaning in a URI, and the colon, which separates issuer
// and account. A space becomes %20, because apps show the plus sign of a form encoding.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// quietZone is the width of the blank margin that a QR code needs, in modules (ISO/IEC 18004,
// section 9.1).
const quietZone = 4

// QRCode returns a QR code as an SVG image, black on white also on a dark page, because many
// scanners do not read inverted codes. The image has no size of its own: the page chooses it. It
// contains no scripts and no style attributes, which a Content-Security-Policy could block.
//
// QRCode returns an error if the URI is longer than the 2331 bytes that fit.
func QRCode(uri string) (svg string, err error) {
	code, err := qr.Encode(uri, qr.M)
	if err != nil {
		return "", fmt.Errorf("encode QR code: %w", err)
	}

	size := code.Size + 2*quietZone
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="QR code" shape-rendering="crispEdges">`, size, size)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/><path d="`, size, size)
	for y := range code.Size {
		writeRow(&b, code, y)
	}
	b.WriteString(`"/></svg>`)

	return b.String(), nil
}

// writeRow writes a rectangle for each run of black modules in row y.
func writeRow(b *strings.Builder, code *qr.Code, y int) {
	for x := 0; x < code.Size; x++ {
		start := x
		for code.Black(x, y) { // white outside the code
			x++
		}

		if width := x - start; width > 0 {
			fmt.Fprintf(b, "M%d %dh%dv1h-%dz", start+quietZone, y+quietZone, width, width)
		}
	}
}

package factor

import (
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caiguanhao/readqr/gozxing"
	"github.com/caiguanhao/readqr/qrcode"

	"latchkey/internal/testkit"
)

// labels lists names of applications and accounts with the escaped label of the URI.
var labels = []struct{ issuer, account, label string }{
	{"Latchkey", "ann@example.com", "Latchkey:ann%40example.com"},
	{"ACME Co", "ann@example.com", "ACME%20Co:ann%40example.com"},
	{"ACME: Tools", "ann:work", "ACME%3A%20Tools:ann%3Awork"},
	{"Müller & Söhne", "jörg@example.com", "M%C3%BCller%20%26%20S%C3%B6hne:j%C3%B6rg%40example.com"},
	{"鍵", "太郎", "%E9%8D%B5:%E5%A4%AA%E9%83%8E"},
	{"A+B?C#D/E%41=F;G", `"<x>\`, "A%2BB%3FC%23D%2FE%2541%3DF%3BG:%22%3Cx%3E%5C"},
	{"Shop&secret=AAAA", "a&issuer=Other", "Shop%26secret%3DAAAA:a%26issuer%3DOther"},
	{"line\nbreak", "\x00", "line%0Abreak:%00"},
}

// No name can end the label early or add a parameter.
func TestURI(t *testing.T) {
	t.Parallel()

	for _, l := range labels {
		escapedIssuer, _, _ := strings.Cut(l.label, ":")
		want := "otpauth://totp/" + l.label + "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=" +
			escapedIssuer + "&algorithm=SHA1&digits=6&period=30"
		got := URI(l.issuer, l.account, rfcSecret)
		if got != want {
			t.Errorf("URI(%q, %q):\ngot  %s\nwant %s", l.issuer, l.account, got, want)
		}

		checkURI(t, got, l.issuer, l.account)
	}
}

// checkURI parses a URI like an app.
func checkURI(t *testing.T, uri, issuer, account string) {
	t.Helper()

	parsed, err := url.Parse(uri)
	testkit.NoError(t, err)
	parameters, err := url.ParseQuery(parsed.RawQuery)
	testkit.NoError(t, err)

	escapedIssuer, escapedAccount, _ := strings.Cut(strings.TrimPrefix(parsed.EscapedPath(), "/"), ":")
	gotIssuer, err := url.PathUnescape(escapedIssuer)
	testkit.NoError(t, err)
	gotAccount, err := url.PathUnescape(escapedAccount)
	testkit.NoError(t, err)

	if gotIssuer != issuer || gotAccount != account || parameters.Get("issuer") != issuer || len(parameters) != 5 {
		t.Errorf("%s: got %q, %q, %v, want %q, %q", uri, gotIssuer, gotAccount, parameters, issuer, account)
	}
}

// A scanner reads the URI from the QR code.
func TestQRCodeIsReadable(t *testing.T) {
	t.Parallel()

	for _, l := range labels {
		checkQRCode(t, URI(l.issuer, l.account, rfcSecret))
	}
	for length := 1; length <= 600; length += 37 { // codes of many sizes
		checkQRCode(t, URI("Latchkey", strings.Repeat("x", length), rfcSecret))
	}
}

func checkQRCode(t *testing.T, uri string) {
	t.Helper()

	svg, err := QRCode(uri)
	testkit.NoError(t, err)
	got, err := scan(drawSVG(t, svg))
	if err != nil || got != uri {
		t.Errorf("QR code of %s: got %q, %v", uri, got, err)
	}
}

// scan reads the QR code in an image that contains nothing else. Without the hint, this decoder
// would search for a code as in a photograph, and fail for one perfect image in a hundred.
func scan(img image.Image) (string, error) {
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		return "", err
	}

	hints := map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, hints)
	if err != nil {
		return "", err
	}

	return result.GetText(), nil
}

// vectorImage has the parts of an SVG image that the tests look at.
type vectorImage struct {
	ViewBox string     `xml:"viewBox,attr"`
	Role    string     `xml:"role,attr"`
	Name    string     `xml:"aria-label,attr"`
	Attrs   []xml.Attr `xml:",any,attr"`
	Rects   []struct {
		Width  int    `xml:"width,attr"`
		Height int    `xml:"height,attr"`
		Fill   string `xml:"fill,attr"`
	} `xml:"rect"`
	Paths []struct {
		D     string     `xml:"d,attr"`
		Attrs []xml.Attr `xml:",any,attr"`
	} `xml:"path"`
	Others []struct{} `xml:",any"`
}

// run matches a rectangle in the path: black modules next to each other in a row.
var run = regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`)

// scale is the number of pixels for each module in each direction.
const scale = 4

// drawSVG draws the image of a QR code. Outside its rectangles it is red.
func drawSVG(t *testing.T, svg string) image.Image {
	t.Helper()

	var v vectorImage
	testkit.NoError(t, xml.Unmarshal([]byte(svg), &v))
	var size int
	_, err := fmt.Sscanf(v.ViewBox, "0 0 %d", &size)
	testkit.NoError(t, err)

	img := image.NewRGBA(image.Rect(0, 0, size*scale, size*scale))
	fill := func(x, y, width, height int, c color.Color) {
		draw.Draw(img, image.Rect(x*scale, y*scale, (x+width)*scale, (y+height)*scale), image.NewUniform(c), image.Point{}, draw.Src)
	}

	fill(0, 0, size, size, color.RGBA{R: 0xff, A: 0xff})
	for _, rect := range v.Rects {
		fill(0, 0, rect.Width, rect.Height, color.White)
	}
	for _, path := range v.Paths {
		if rest := run.ReplaceAllString(path.D, ""); rest != "" {
			t.Fatalf("the path has the unknown part %q", rest)
		}
		for _, match := range run.FindAllString(path.D, -1) {
			var x, y, width, back int
			_, err := fmt.Sscanf(match, "M%d %dh%dv1h-%dz", &x, &y, &width, &back)
			testkit.NoError(t, err)
			if back != width {
				t.Fatalf("%s is not a rectangle", match)
			}
			fill(x, y, width, 1, color.Black)
		}
	}

	return img
}

// The image is readable on pages of any color and size, has a name for screen readers, and needs
// nothing that a Content-Security-Policy could block.
func TestQRCodeImage(t *testing.T) {
	t.Parallel()

	svg, err := QRCode(URI("Latchkey", "ann@example.com", rfcSecret))
	testkit.NoError(t, err)
	var v vectorImage
	testkit.NoError(t, xml.Unmarshal([]byte(svg), &v))

	if len(v.Rects) != 1 || len(v.Paths) != 1 || len(v.Others) != 0 {
		t.Fatalf("got %d rectangles, %d paths and %d other elements, want one rectangle and one path", len(v.Rects), len(v.Paths), len(v.Others))
	}
	size := v.Rects[0].Width
	if v.Rects[0].Height != size || v.ViewBox != fmt.Sprintf("0 0 %d %d", size, size) || v.Rects[0].Fill != "#fff" {
		t.Errorf("got the background %+v in %q, want all of it white", v.Rects[0], v.ViewBox)
	}
	if v.Role != "img" || v.Name == "" {
		t.Errorf("got the role %q and the name %q, want an image with a name", v.Role, v.Name)
	}
	for _, attr := range append(v.Attrs, v.Paths[0].Attrs...) {
		switch name := attr.Name.Local; name {
		case "xmlns", "shape-rendering", "fill":
		default:
			t.Errorf("got the unknown attribute %s", name)
		}
	}

	checkMargin(t, drawSVG(t, svg), size)
}

// checkMargin checks that the outer four modules are white, and that the code touches them.
func checkMargin(t *testing.T, img image.Image, size int) {
	t.Helper()

	code := image.Rectangle{}
	for y := range size {
		for x := range size {
			if r, _, _, _ := img.At(scale*x, scale*y).RGBA(); r == 0 {
				code = code.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	if want := image.Rect(4, 4, size-4, size-4); code != want {
		t.Errorf("got black modules in %v of %d, want %v", code, size, want)
	}
}

// QRCode reports a URI that does not fit.
func TestQRCodeOfLongURI(t *testing.T) {
	t.Parallel()

	if _, err := QRCode(strings.Repeat("x", 2331)); err != nil {
		t.Errorf("2331 bytes: got %v", err)
	}
	if svg, err := QRCode(strings.Repeat("x", 2332)); err == nil || svg != "" {
		t.Errorf("2332 bytes: got %d bytes and no error", len(svg))
	}
}

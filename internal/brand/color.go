package brand

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// color is an sRGB color.
type color struct{ r, g, b uint8 }

var (
	black = color{0, 0, 0}
	white = color{255, 255, 255}
	// ink is the dark text on light buttons.
	ink = color{0x14, 0x18, 0x1f}
)

var colorPattern = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// IsColor reports whether s has the form #rrggbb.
func IsColor(s string) bool { return colorPattern.MatchString(s) }

// parseColor parses a color for which IsColor is true.
func parseColor(s string) color {
	n, _ := strconv.ParseUint(s[1:], 16, 24)

	return color{uint8(n >> 16 & 0xff), uint8(n >> 8 & 0xff), uint8(n & 0xff)}
}

// String returns the color as #rrggbb.
func (c color) String() string { return fmt.Sprintf("#%02x%02x%02x", c.r, c.g, c.b) }

// luminance returns the relative luminance of WCAG 2.2, from 0 for black to 1 for white.
func (c color) luminance() float64 {
	linear := func(channel uint8) float64 {
		v := float64(channel) / 255
		if v <= 0.04045 {
			return v / 12.92
		}

		return math.Pow((v+0.055)/1.055, 2.4)
	}

	return 0.2126*linear(c.r) + 0.7152*linear(c.g) + 0.0722*linear(c.b)
}

// contrast returns the contrast ratio of WCAG 2.2 between two colors, from 1 to 21.
func contrast(a, b color) float64 {
	lighter := max(a.luminance(), b.luminance())
	darker := min(a.luminance(), b.luminance())

	return (lighter + 0.05) / (darker + 0.05)
}

// textOn returns the color for text on c. White is preferred if it is readable, as on most buttons.
// Of white and ink, at least one always is.
func textOn(c color) color {
	if contrast(white, c) >= textContrast {
		return white
	}
	if contrast(ink, c) >= textContrast {
		return ink
	}

	return black
}

// towards mixes c with as little of end as is needed for the contrast ratio to the background.
func (c color) towards(end, background color, ratio float64) color {
	const steps = 100

	for i := range steps {
		mixed := c.mix(end, float64(i)/steps)
		if contrast(mixed, background) >= ratio {
			return mixed
		}
	}

	return end
}

// mix returns a color between c (share 0) and other (share 1).
func (c color) mix(other color, share float64) color {
	channel := func(from, to uint8) uint8 {
		return uint8(math.Round(float64(from) + share*(float64(to)-float64(from))))
	}

	return color{channel(c.r, other.r), channel(c.g, other.g), channel(c.b, other.b)}
}

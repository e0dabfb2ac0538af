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

// textOn returns the color for text on c: white if it is readable, as on most buttons, else ink, else
// black. At least one of white and black is always readable.
func textOn(c color) color {
	if contrast(white, c) >= textContrast {
		return white
	}
	if contrast(ink, c) >= textContrast {
		return ink
	}

	return black
}

// towards changes the lightness of c as little as is needed for the contrast ratio to the background,
// in the direction of end, which is black or white. It keeps the hue, by which people recognize a brand.
func (c color) towards(end, background color, ratio float64) color {
	const steps = 200

	hue, saturation, lightness := c.hsl()
	goal := end.luminance() // 0 or 1, as the lightness of black and white
	for i := range steps {
		share := float64(i) / steps
		changed := fromHSL(hue, saturation, lightness+share*(goal-lightness))
		if i == 0 {
			changed = c // without rounding
		}
		if contrast(changed, background) >= ratio {
			return changed
		}
	}

	return end
}

// hsl returns the hue in sixths of a turn, and the saturation and the lightness from 0 to 1.
func (c color) hsl() (hue, saturation, lightness float64) {
	r := float64(c.r) / 255
	g := float64(c.g) / 255
	b := float64(c.b) / 255
	high := max(r, g, b)
	low := min(r, g, b)
	chroma := high - low
	lightness = (high + low) / 2
	if chroma == 0 {
		return 0, 0, lightness
	}

	saturation = chroma / (1 - math.Abs(2*lightness-1))
	switch high {
	case r:
		hue = math.Mod((g-b)/chroma+6, 6)
	case g:
		hue = (b-r)/chroma + 2
	default:
		hue = (r-g)/chroma + 4
	}

	return hue, saturation, lightness
}

// fromHSL is the inverse of hsl.
func fromHSL(hue, saturation, lightness float64) color {
	chroma := (1 - math.Abs(2*lightness-1)) * saturation
	channel := func(offset float64) uint8 {
		position := math.Mod(hue+offset, 6)
		share := min(max(math.Abs(position-3)-1, 0), 1)
		value := lightness + chroma*(share-0.5)

		return uint8(math.Round(255 * min(max(value, 0), 1)))
	}

	return color{channel(0), channel(4), channel(2)}
}

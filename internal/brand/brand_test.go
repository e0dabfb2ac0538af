package brand

import "testing"

// Every color gives palettes whose texts and buttons are readable, on the backgrounds that they are
// for and on the plain ones beside these.
func TestPalettesAreReadable(t *testing.T) {
	t.Parallel()

	levels := []uint8{0, 0x20, 0x48, 0x70, 0x98, 0xc0, 0xe0, 0xff}
	for _, r := range levels {
		for _, g := range levels {
			for _, b := range levels {
				c := color{r, g, b}.String()
				checkPalette(t, c, "light", Brand{Color: c}.Light(), LightBackground, "#ffffff")
				checkPalette(t, c, "dark", Brand{Color: c}.Dark(), DarkBackground, "#16181c")
			}
		}
	}
}

func checkPalette(t *testing.T, brandColor, name string, p Palette, backgrounds ...string) {
	t.Helper()

	ratio := func(a, b string) float64 { return contrast(parseColor(a), parseColor(b)) }
	if got := ratio(p.ButtonText, p.Button); got < textContrast {
		t.Errorf("%s, %s: got contrast %.2f between button and text (%+v), want at least %v", brandColor, name, got, p, textContrast)
	}
	for _, background := range backgrounds {
		if got := ratio(p.Link, background); got < textContrast {
			t.Errorf("%s, %s: got contrast %.2f of links on %s (%+v), want at least %v", brandColor, name, got, background, p, textContrast)
		}
		if got := ratio(p.ButtonEdge, background); got < controlContrast {
			t.Errorf("%s, %s: got contrast %.2f of the button's edge on %s (%+v), want at least %v", brandColor, name, got, background, p, controlContrast)
		}
	}
}

func TestPalettes(t *testing.T) {
	t.Parallel()

	for color, want := range map[string]struct{ lightText, darkText string }{
		DefaultColor: {"#ffffff", "#ffffff"},
		"#ffdd00":    {"#14181f", "#14181f"}, // yellow
		"#0a1a3a":    {"#ffffff", "#ffffff"}, // almost black, so it is lighter in dark mode
	} {
		b := Brand{Color: color}
		light := b.Light()
		if light.Button != color || light.ButtonText != want.lightText {
			t.Errorf("%s: got %+v, want the color itself with text %s", color, light, want.lightText)
		}
		if dark := b.Dark(); dark.ButtonText != want.darkText {
			t.Errorf("%s: got %+v in dark mode, want text %s", color, dark, want.darkText)
		}
	}

	if got := (Brand{Color: "#0a1a3a"}).Dark().Button; got == "#0a1a3a" {
		t.Errorf("dark color in dark mode: got button %s, want a lighter one", got)
	}
	if got := (Brand{}).WithDefaults(); got != (Brand{Name: DefaultName, Color: DefaultColor}) {
		t.Errorf("WithDefaults: got %+v, want the defaults", got)
	}
}

// A color is the same after a conversion to HSL and back.
func TestHSL(t *testing.T) {
	t.Parallel()

	for _, want := range []string{"#000000", "#ffffff", "#808080", "#ff0000", "#00ff00", "#0000ff", "#ffdd00", "#0a1a3a", "#c8102e", "#1f5fd0", "#12ab9c", "#fe01fe"} {
		if got := fromHSL(parseColor(want).hsl()).String(); got != want {
			t.Errorf("HSL of %s and back: got %s", want, got)
		}
	}
}

func TestContrast(t *testing.T) {
	t.Parallel()

	// The extremes and the published value of a grey that just passes on white.
	for _, tc := range []struct {
		a, b string
		want float64
	}{
		{"#000000", "#ffffff", 21},
		{"#777777", "#777777", 1},
		{"#767676", "#ffffff", 4.54},
	} {
		if got := contrast(parseColor(tc.a), parseColor(tc.b)); got < tc.want-0.01 || got > tc.want+0.01 {
			t.Errorf("contrast of %s and %s: got %.3f, want %.2f", tc.a, tc.b, got, tc.want)
		}
	}

	for s, want := range map[string]bool{"#1f5fd0": true, "#ABCDEF": true, "1f5fd0": false, "#fff": false, "#12345g": false, "red": false, "#1f5fd0\n": false} {
		if got := IsColor(s); got != want {
			t.Errorf("IsColor(%q): got %t, want %t", s, got, want)
		}
	}
}

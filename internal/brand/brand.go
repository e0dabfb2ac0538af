package brand

import "cmp"

// DefaultName and DefaultColor are used if a Brand has none.
const (
	DefaultName  = "Latchkey"
	DefaultColor = "#1f5fd0"
)

// MaxName is the maximum length of a Name in characters. It keeps the subjects of emails readable.
const MaxName = 50

// Brand holds the name and the look of a product. The zero value is the brand of Latchkey itself.
type Brand struct {
	Name    string // in texts, at most MaxName characters; the default is DefaultName
	URL     string // of the product's website; may be empty
	Color   string // as #rrggbb; the default is DefaultColor
	LogoURL string // https URL of an image; may be empty
}

// WithDefaults returns the Brand with the default name and color if it has none.
func (b Brand) WithDefaults() Brand {
	b.Name = cmp.Or(b.Name, DefaultName)
	if !IsColor(b.Color) {
		b.Color = DefaultColor
	}

	return b
}

// Palette holds the colors that are derived from the color of a Brand, each as #rrggbb.
type Palette struct {
	Button     string // background of buttons
	ButtonText string // text on Button
	ButtonEdge string // border of buttons: visible even if Button is as light or as dark as the page
	Link       string // text of links on the page
}

// The backgrounds that palettes are made for. Pages and emails use these or ones with more contrast.
const (
	LightBackground = "#f2f4f7"
	DarkBackground  = "#22252b"
)

// The contrast ratios that WCAG 2.2 requires for text (1.4.3) and for the parts of controls (1.4.11).
const (
	textContrast    = 4.5
	controlContrast = 3
)

// Light returns the colors for LightBackground and lighter backgrounds.
func (b Brand) Light() Palette {
	c := parseColor(b.WithDefaults().Color)
	page := parseColor(LightBackground)

	return Palette{
		Button:     c.String(),
		ButtonText: textOn(c).String(),
		ButtonEdge: c.towards(black, page, controlContrast).String(),
		Link:       c.towards(black, page, textContrast).String(),
	}
}

// Dark returns the colors for DarkBackground and darker backgrounds. The button has a lighter variant
// of the color, because a dark one is hard to see there.
func (b Brand) Dark() Palette {
	c := parseColor(b.WithDefaults().Color)
	page := parseColor(DarkBackground)
	button := c.towards(white, page, controlContrast)

	return Palette{
		Button:     button.String(),
		ButtonText: textOn(button).String(),
		ButtonEdge: button.String(),
		Link:       c.towards(white, page, textContrast).String(),
	}
}

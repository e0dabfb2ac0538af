package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/template"

	"latchkey/internal/asset"
	"latchkey/internal/brand"
)

// assets are the scripts, styles and images of the pages.
type assets struct {
	files   map[string]*asset.File
	version string // of all files; a part of their URLs
}

// loadAssets reads the assets and generates those that depend on the brand and the languages. The
// policy of the pages forbids inline styles and scripts, so these are files, too.
func loadAssets(b brand.Brand, l languages) (assets, error) {
	a := assets{files: map[string]*asset.File{}}
	contents := map[string][]byte{}

	entries, err := files.ReadDir("assets")
	if err != nil {
		return a, err
	}
	for _, entry := range entries {
		if contents[entry.Name()], err = files.ReadFile("assets/" + entry.Name()); err != nil {
			return a, err
		}
	}

	for tag, list := range l.texts {
		encoded, err := json.Marshal(list)
		if err != nil {
			return a, err
		}
		contents["texts."+tag+".js"] = fmt.Appendf(nil, "export default %s;\n", encoded)
	}

	light := b.Light()
	dark := b.Dark()
	var css bytes.Buffer
	if err := brandStyle.Execute(&css, map[string]brand.Palette{"Light": light, "Dark": dark}); err != nil {
		return a, err
	}
	contents["brand.css"] = css.Bytes()
	contents["icon.svg"] = icon(b, light)

	hashes := ""
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		if a.files[name], err = asset.New(name, contents[name]); err != nil {
			return a, err
		}
		hashes += name + " " + a.files[name].Hash() + "\n"
	}
	a.version = asset.Digest([]byte(hashes))

	return a, nil
}

var brandStyle = template.Must(template.New("brand.css").Parse(`:root {
  --button: {{.Light.Button}}; --button-text: {{.Light.ButtonText}}; --button-edge: {{.Light.ButtonEdge}}; --link: {{.Light.Link}};
}
@media (prefers-color-scheme: dark) {
  :root {
    --button: {{.Dark.Button}}; --button-text: {{.Dark.ButtonText}}; --button-edge: {{.Dark.ButtonEdge}}; --link: {{.Dark.Link}};
  }
}
`))

// icon returns the icon of the pages: a key for Latchkey itself, and otherwise the initial of the
// product's name.
func icon(b brand.Brand, p brand.Palette) []byte {
	const key = `<circle cx="11.5" cy="16" r="5" fill="none" stroke="%[1]s" stroke-width="2.6"/>` +
		`<path d="M16.5 16H27m-4 0v4.5M19.6 16v3" stroke="%[1]s" stroke-width="2.6" stroke-linecap="round" fill="none"/>`
	const letter = `<text x="16" y="16.5" fill="%s" font-family="system-ui, sans-serif" font-size="19" font-weight="650" text-anchor="middle" dominant-baseline="central">%s</text>`

	symbol := fmt.Sprintf(key, p.ButtonText)
	if b.Name != brand.DefaultName {
		first := strings.ToUpper(string([]rune(b.Name)[:1]))
		symbol = fmt.Sprintf(letter, p.ButtonText, template.HTMLEscapeString(first))
	}

	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="%s"/>%s</svg>`, p.Button, symbol)
}

// url returns the URL of an asset, relative to a page.
func (a assets) url(name string) string { return "pages/" + a.version + "/" + name }

// serve serves VERSION/NAME. During a rolling upgrade, a page may come from a server with another
// version.
func (a assets) serve(w http.ResponseWriter, r *http.Request, rest string) error {
	version, name, _ := strings.Cut(rest, "/")

	caching := asset.Revalidate
	if version == a.version {
		caching = asset.Forever
	}

	return a.files[name].Serve(w, r, caching)
}

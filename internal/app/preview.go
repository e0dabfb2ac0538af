package app

import "latchkey/internal/config"

// PreviewMail writes every email in every language to a directory, and returns the path of the page
// that links to them. It needs no stores.
func PreviewMail(c config.Brand, dir string) (index string, err error) {
	composer, err := newComposer(c)
	if err != nil {
		return "", err
	}

	return composer.WritePreviews(dir)
}

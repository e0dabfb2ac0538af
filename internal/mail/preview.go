package mail

import (
	"bytes"
	"cmp"
	_ "embed" // for previewSource
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"latchkey/internal/brand"
	"latchkey/internal/locale"
)

// previewMark is a part of the page that links to previews. WritePreviews recognizes a directory that it
// has written by this mark.
const previewMark = `<meta name="generator" content="latchkey mail preview">`

const indexFile = "index.html"

var (
	//go:embed preview.html.tmpl
	previewSource string

	previewTemplate = template.Must(template.New("preview").Parse(previewSource))
)

// previewData is the data for the page that links to previews.
type previewData struct {
	Mark      template.HTML
	App       brand.Brand
	Languages []string
	Rows      []previewRow
}

// previewRow links to an email in all languages.
type previewRow struct {
	Kind  Kind
	Links []previewLink
}

type previewLink struct{ Lang, Subject, HTML, Text string }

// WritePreviews writes every email in every language to a directory, as <language>/<kind>.html and
// .txt, and returns the path of a page that links to them. It updates a directory that it has written
// before; any other must be empty or missing.
func (c *Composer) WritePreviews(dir string) (index string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the emails are invented
		return "", err
	}
	if err := checkPreviewDir(dir); err != nil {
		return "", err
	}

	files, page, err := c.previews()
	if err != nil {
		return "", err
	}

	// Write the page first. It marks the directory, so that the command can run again after a failure.
	index = filepath.Join(dir, indexFile)
	if err := writePreview(index, page); err != nil {
		return "", err
	}
	if err := removeOldPreviews(dir, files); err != nil {
		return "", err
	}
	for name, content := range files {
		if err := writePreview(filepath.Join(dir, name), content); err != nil {
			return "", err
		}
	}

	return index, nil
}

// checkPreviewDir returns an error if a directory contains files that are not previews.
func checkPreviewDir(dir string) error {
	found, err := os.ReadDir(dir)
	if err != nil || len(found) == 0 {
		return err
	}

	page, err := os.ReadFile(filepath.Join(dir, indexFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !bytes.Contains(page, []byte(previewMark)) {
		return fmt.Errorf("%s is not empty, and was not written by this command; choose another directory", dir)
	}

	return nil
}

// removeOldPreviews removes the previews of an earlier run that are not in files.
func removeOldPreviews(dir string, files map[string]string) error {
	for _, kind := range Kinds() {
		for _, extension := range []string{".html", ".txt"} {
			found, err := filepath.Glob(filepath.Join(dir, "*", string(kind)+extension))
			if err != nil {
				return err
			}

			for _, path := range found {
				lang := filepath.Base(filepath.Dir(path))
				_, isCurrent := files[filepath.Join(lang, filepath.Base(path))]
				if isCurrent || locale.Canonical(lang) != lang {
					continue
				}
				if err := os.Remove(path); err != nil {
					return err
				}
				_ = os.Remove(filepath.Dir(path)) // fails unless it is empty now
			}
		}
	}

	return nil
}

func writePreview(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as above
		return err
	}

	return os.WriteFile(path, []byte(content), 0o644) //nolint:gosec // as above
}

// previews returns all emails by file name, and the page that links to them.
func (c *Composer) previews() (files map[string]string, page string, err error) {
	files = map[string]string{}
	data := previewData{
		Mark:      previewMark,
		App:       c.brand,
		Languages: c.languages.Names(),
	}

	for _, kind := range Kinds() {
		row := previewRow{Kind: kind}
		for _, lang := range data.Languages {
			m, err := c.Preview(kind, lang)
			if err != nil {
				return nil, "", err
			}

			link := previewLink{
				Lang:    lang,
				Subject: m.Subject,
				HTML:    filepath.Join(lang, string(kind)+".html"),
				Text:    filepath.Join(lang, string(kind)+".txt"),
			}
			files[link.HTML] = m.HTML
			files[link.Text] = "Subject: " + m.Subject + "\n\n" + m.Text
			row.Links = append(row.Links, link)
		}
		data.Rows = append(data.Rows, row)
	}
	slices.SortStableFunc(data.Rows, func(a, b previewRow) int { return cmp.Compare(a.Kind, b.Kind) })

	var b strings.Builder
	err = previewTemplate.Execute(&b, data)

	return files, b.String(), err
}

// sampleTime is the time of the events in previews.
var sampleTime = time.Date(2026, 11, 22, 13, 32, 0, 0, time.UTC)

// sampleToken is the one-time token in previews.
const sampleToken = "bXkgc2VjcmV0IHRva2VuIGlzIHZlcnkgbG9uZyAxMjM0NTY3ODk" //nolint:gosec // invented

// sampleLinks are the paths and queries of links, as package auth creates them, and their lifetimes by
// default.
var sampleLinks = map[Kind]struct {
	path, query string
	lifetime    time.Duration
}{
	VerifyEmail:   {"/verify-email", "", 24 * time.Hour},
	ResetPassword: {"/reset-password", "", 30 * time.Minute},
	ConfirmEmail:  {"/verify-email", "", 24 * time.Hour},
	Invitation:    {"/accept-invitation", "&email=ada%40example.com", 7 * 24 * time.Hour},
}

// Preview returns an email of a kind with invented values, in a language of the Composer.
func (c *Composer) Preview(kind Kind, lang string) (Message, error) {
	return c.compose(c.textsFor(lang), c.sample(kind), sampleTime)
}

// sample returns an email of a kind with invented values.
func (c *Composer) sample(kind Kind) Email {
	e := Email{Job: Job{
		ID:     "preview",
		Kind:   kind,
		To:     "ada@example.com",
		Device: "Firefox 142 on Linux",
		IP:     "203.0.113.7",
		At:     sampleTime,
	}}

	if link, ok := sampleLinks[kind]; ok {
		e.Link = "https://app.example.com" + link.path + "#token=" + sampleToken + link.query
		e.ExpiresIn = link.lifetime
	}

	switch kind {
	case ConfirmEmail, EmailChangeRequested, EmailChanged:
		e.OldEmail = "ada@example.com"
		e.NewEmail = "countess.of.lovelace@example.org"
	case IdentityLinked, IdentityUnlinked, AccountClaimed:
		e.Provider = "Google"
	case FactorAdded, FactorRemoved, FactorDisabled:
		e.Factor = "Google Authenticator"
	case RecoveryCodeUsed:
		e.Left = fewCodes // with all paragraphs
	case FactorsReset:
		e.Reason = "You asked for this by phone, because you lost your phone and your recovery codes." // operators choose the language
		e.Device = ""
		e.IP = ""
	case Invitation:
		e.Device = ""
		e.IP = ""
	}

	return e
}

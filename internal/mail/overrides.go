package mail

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"latchkey/internal/locale"
)

// overrides holds the files in ComposerOptions.TextsDir.
type overrides struct {
	entries   map[string]entries // by language
	added     []string           // languages that are not shipped
	templates map[string]string  // sources by file name
}

// maxOverride is the maximum size of a file. Texts and templates are much smaller.
const maxOverride = 1 << 20

// readOverrides reads the files in a directory, and compares the texts with the shipped ones. Files
// with other extensions are ignored.
func readOverrides(dir string, shipped map[string]entries) (overrides, error) {
	o := overrides{entries: map[string]entries{}, templates: map[string]string{}}
	if dir == "" {
		return o, nil
	}

	files, err := os.ReadDir(dir)
	if err != nil {
		return o, err
	}

	var faults []string
	for _, file := range files {
		name := file.Name()
		isOurs := slices.Contains([]string{".json", ".tmpl"}, path.Ext(name))
		if file.IsDir() || strings.HasPrefix(name, ".") || !isOurs {
			continue
		}

		for _, f := range o.add(os.DirFS(dir), name, shipped) {
			faults = append(faults, name+": "+f.String())
		}
	}

	return o, faultsError(faults)
}

// add adds a file.
func (o *overrides) add(dir fs.FS, name string, shipped map[string]entries) []fault {
	lang, isTexts := strings.CutPrefix(strings.TrimSuffix(name, ".json"), "texts.")
	isTexts = isTexts && strings.HasSuffix(name, ".json")
	isTemplate := name == htmlFile || name == textFile

	switch {
	case !isTexts && !isTemplate:
		return []fault{{"", fmt.Sprintf("unknown file; expected texts.<language>.json, %s or %s", htmlFile, textFile)}}
	case isTexts && locale.Canonical(lang) == "":
		return []fault{{"", fmt.Sprintf("%q is not a language tag (BCP 47)", lang)}}
	case isTexts && locale.Canonical(lang) != lang:
		return []fault{{"", "must be named " + textsName(locale.Canonical(lang))}}
	}

	if info, err := fs.Stat(dir, name); err != nil || info.Size() > maxOverride {
		return []fault{{"", "cannot be read, or is larger than 1 MiB"}}
	}
	file, err := fs.ReadFile(dir, name)
	if err != nil {
		return []fault{{"", err.Error()}}
	}

	if isTemplate {
		o.templates[name] = string(file)

		return nil
	}

	e, faults := parseEntries(file)
	if e == nil {
		return faults
	}
	english := shipped[locale.Default]
	faults = append(faults, e.check(english)...)
	if _, isShipped := shipped[lang]; !isShipped {
		o.added = append(o.added, lang)
		faults = append(faults, e.missing(language.MustParse(lang), english)...)
	}
	o.entries[lang] = e
	slices.SortFunc(faults, func(a, b fault) int { return cmp.Compare(a.String(), b.String()) })

	return faults
}

// source returns the source of a template.
func (o overrides) source(name string) string {
	if source, ok := o.templates[name]; ok {
		return source
	}

	source, err := shippedFiles.ReadFile(name)
	if err != nil {
		panic("mail: " + err.Error()) // impossible: the file is embedded
	}

	return string(source)
}

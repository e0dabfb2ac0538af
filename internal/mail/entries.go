package mail

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"
)

// entries are the texts in a file by their key, such as emails.verify_email.subject.
type entries map[string]entry

// entry is one text, or a list of texts.
type entry struct {
	texts  []string
	isList bool
}

// fault describes a problem with an entry of a file, or with the file itself if the key is "".
type fault struct{ key, reason string }

func (f fault) String() string {
	if f.key == "" {
		return f.reason
	}

	return f.key + ": " + f.reason
}

// parseEntries parses a file of texts. Values that are not texts are faults.
func parseEntries(file []byte) (entries, []fault) {
	if !utf8.Valid(file) {
		return nil, []fault{{"", "is not UTF-8"}}
	}

	var root map[string]any
	if err := json.Unmarshal(file, &root); err != nil {
		return nil, []fault{{"", "is not a JSON object: " + err.Error()}}
	}

	e := entries{}
	faults := e.add("", root)

	return e, faults
}

// add adds the values of an object, whose keys begin with prefix.
func (e entries) add(prefix string, object map[string]any) (faults []fault) {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		key := prefix + name
		switch value := object[name].(type) {
		case string:
			e[key] = entry{texts: []string{value}}
		case map[string]any:
			faults = append(faults, e.add(key+".", value)...)
		case []any:
			list := entry{isList: true}
			for _, item := range value {
				text, ok := item.(string)
				if !ok {
					faults = append(faults, fault{key, "must be a list of texts"})
					break
				}
				list.texts = append(list.texts, text)
			}
			e[key] = list
		default:
			faults = append(faults, fault{key, "must be a text"})
		}
	}

	return faults
}

// nested returns the entries as the object that they were parsed from.
func (e entries) nested() map[string]any {
	root := map[string]any{}
	for key, value := range e {
		object := root
		path := strings.Split(key, ".")
		for _, name := range path[:len(path)-1] {
			inner, ok := object[name].(map[string]any)
			if !ok {
				inner = map[string]any{}
				object[name] = inner
			}
			object = inner
		}

		name := path[len(path)-1]
		if value.isList {
			object[name] = value.texts
		} else {
			object[name] = value.texts[0]
		}
	}

	return root
}

// with returns the entries with those of an override.
func (e entries) with(override entries) entries {
	merged := entries{}
	maps.Copy(merged, e)
	maps.Copy(merged, override)

	return merged
}

// isPlural reports whether a key is a plural form, and returns the unit that it counts.
func isPlural(key string) (unit string, ok bool) {
	unit, form, _ := strings.Cut(key, ".")

	return unit, slices.Contains([]string{"minutes", "hours", "days"}, unit) && slices.Contains(slices.Collect(maps.Values(pluralForms)), form)
}

// englishKey returns the key of the English text that an entry corresponds to. Other languages may
// have more plural forms.
func englishKey(key string) string {
	if unit, ok := isPlural(key); ok {
		return unit + ".other"
	}

	return key
}

// check returns the faults of entries in comparison with the English ones.
func (e entries) check(english entries) (faults []fault) {
	for _, key := range slices.Sorted(maps.Keys(e)) {
		given := e[key]
		model, known := english[englishKey(key)]
		switch {
		case !known:
			faults = append(faults, fault{key, "unknown key"})
		case given.isList != model.isList && model.isList:
			faults = append(faults, fault{key, "must be a list of texts"})
		case given.isList != model.isList:
			faults = append(faults, fault{key, "must be a text"})
		case key == "months" && len(given.texts) != 12:
			faults = append(faults, fault{key, "must have 12 texts"})
		case given.isEmpty():
			faults = append(faults, fault{key, "is empty"})
		default:
			faults = append(faults, checkPlaceholders(key, given, model, english)...)
		}
	}

	return faults
}

func (e entry) isEmpty() bool {
	isBlank := func(text string) bool { return printable(text) == "" }

	return len(e.texts) == 0 || slices.ContainsFunc(e.texts, isBlank)
}

// missing returns a fault for each text that a language needs and that is not in its entries.
func (e entries) missing(lang language.Tag, english entries) (faults []fault) {
	needed := map[string]bool{}
	for key := range english {
		if _, ok := isPlural(key); !ok {
			needed[key] = true
		}
	}
	for _, unit := range []string{"minutes", "hours", "days"} {
		for n := 1; n <= maxCounted; n++ {
			needed[unit+"."+pluralForm(lang, n)] = true
		}
	}

	for _, key := range slices.Sorted(maps.Keys(needed)) {
		if _, ok := e[key]; !ok {
			faults = append(faults, fault{key, fmt.Sprintf("is missing; a new language (%s) needs every text", lang)})
		}
	}

	return faults
}

// maxCounted is the highest number whose plural form every language must have. Higher ones fall back
// to the form "other".
const maxCounted = 200

package main

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed client.js.tmpl client.d.ts.tmpl
var templates embed.FS

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: client DIRECTORY")
		os.Exit(2)
	}

	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

// write writes the files into a directory.
func write(dir string) error {
	files, err := generate()
	if err != nil {
		return err
	}

	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil { //nolint:gosec // it is public
			return err
		}
	}

	return nil
}

// generate returns the files by name.
func generate() (map[string][]byte, error) {
	doc, err := readDocument()
	if err != nil {
		return nil, err
	}

	c, err := newClient(doc)
	if err != nil {
		return nil, err
	}

	parsed, err := template.New("").Funcs(template.FuncMap{"comment": comment, "union": union}).ParseFS(templates, "*.tmpl")
	if err != nil {
		return nil, err
	}

	files := map[string][]byte{}
	for _, name := range []string{"client.js", "client.d.ts"} {
		var text bytes.Buffer
		if err := parsed.ExecuteTemplate(&text, name+".tmpl", c); err != nil {
			return nil, err
		}
		files[name] = text.Bytes()
	}

	return files, nil
}

// commentWidth is the width at which lines of comments are wrapped.
const commentWidth = 100

// comment returns a text as a JSDoc comment with a line break, or "" if the text is empty.
func comment(indent, text string) string {
	text = strings.ReplaceAll(text, "*/", "*\\/")
	if text == "" {
		return ""
	}
	if !strings.Contains(text, "\n") && len(indent)+len(text) <= commentWidth {
		return indent + "/** " + text + " */\n"
	}

	b := indent + "/**\n"
	for paragraph := range strings.SplitSeq(text, "\n") {
		for _, line := range wrap(paragraph, commentWidth-len(indent)) {
			b += strings.TrimRight(indent+" * "+line, " ") + "\n"
		}
	}

	return b + indent + " */\n"
}

// wrap breaks a text into lines at spaces. An empty text is one line.
func wrap(text string, width int) []string {
	var lines []string
	line := ""

	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}

	return append(lines, line)
}

// union returns the union of the literal types of strings, one on each line.
func union(indent string, names []string) string {
	b := ""
	for _, name := range names {
		b += "\n" + indent + "| '" + name + "'"
	}

	return b
}

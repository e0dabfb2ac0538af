package app

import (
	"bytes"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// banned lists phrases that readers stumble over, with what to write instead.
var banned = []struct{ phrase, instead string }{
	{`says (that|how|so|when|whether|who|why)`, "reports, returns or means"},
	{`tells? (whether|if|that)`, "reports whether"},
	{`elsewhere`, "external account, provider or another place"},
	{`stands (in|at|on|beside|there)`, "is, is stored or is listed"},
	{`((it|that|this|which|what) is none|none of ours)`, "is not a"},
	{`mend(s|ed|ing)?`, "fix"},
	{`(is|are|was|were) away`, "is down"},
	{`(of|by|for|to|from|at|and|as) who(ever)? (has|have|is|was|asks|calls|gets|wants|knows|can|does|signs|proves|holds)`, "a noun, such as the user or the caller"},
	{`for ever`, "forever"},
	{`likewise`, "also"},
	{`how many (it|they) (are|were)`, "the number of"},
	{`anew`, "again"},
	{`what (sends|is sent back)`, "redirect"},
	{`letters? (is|are|was|were|that|to|of|about|for|waits?)`, "email"},
}

// unqualifiedAddress finds the word address and the word before it. It could mean an email
// address, an IP address, a URL or a host and port.
var unqualifiedAddress = regexp.MustCompile("(?i)([\\w-]*)[\\s\"'`*_/]*\\baddress(es)?(?:[^=\\w(]|$)")

// addressKinds are the words that qualify it.
var addressKinds = []string{"email", "ip", "listen"}

// TestLanguage keeps phrases that readers stumble over out of code and documents.
func TestLanguage(t *testing.T) {
	t.Parallel()

	var phrases []string
	for _, b := range banned {
		phrases = append(phrases, b.phrase)
	}
	anyBanned := regexp.MustCompile(`(?i)\b(` + strings.Join(phrases, "|") + `)\b`)

	root := os.DirFS(filepath.Join("..", ".."))
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "node_modules", "testdata"}, entry.Name()):
			return fs.SkipDir
		case entry.IsDir(), !isProse(entry.Name()):
			return nil
		}

		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		if filepath.Ext(path) == ".go" {
			text = proseOf(text)
		}

		lastWord := "" // of the line before
		for i, line := range strings.Split(string(text), "\n") {
			if phrase := anyBanned.FindString(line); phrase != "" {
				t.Errorf("%s:%d: %q: write %s", path, i+1, phrase, insteadOf(phrase))
			}
			for _, m := range unqualifiedAddress.FindAllStringSubmatch(lastWord+" "+line, -1) {
				if !slices.Contains(addressKinds, strings.ToLower(m[1])) {
					t.Errorf("%s:%d: %q: write email, IP, URL or host:port", path, i+1, m[0])
				}
			}

			lastWord = ""
			if words := strings.Fields(line); len(words) > 0 && !strings.Contains(words[len(words)-1], "address") {
				lastWord = words[len(words)-1]
			}
		}

		return nil
	})
	testkit.NoError(t, err)
}

// isProse reports whether a file with this name is checked.
func isProse(name string) bool {
	switch name {
	case "language_test.go", "traefik.yml": // Traefik has a member "address"
		return false
	case "Makefile", "Dockerfile", ".env.example":
		return true
	}
	extensions := []string{".go", ".md", ".yml", ".yaml", ".js", ".mjs", ".css", ".html", ".tmpl", ".conf", ".sh"}
	return slices.Contains(extensions, filepath.Ext(name)) || strings.HasPrefix(name, "texts.")
}

// proseOf returns a Go file with its comments and strings only, on their lines.
func proseOf(source []byte) []byte {
	files := token.NewFileSet()
	file := files.AddFile("", -1, len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, scanner.ScanComments)

	lines := make([]string, bytes.Count(source, []byte("\n"))+1)
	for {
		pos, kind, text := s.Scan()
		switch kind {
		case token.EOF:
			return []byte(strings.Join(lines, "\n"))
		case token.COMMENT, token.STRING:
			first := file.Line(pos) - 1
			for i, line := range strings.Split(text, "\n") {
				lines[first+i] += " " + line
			}
		}
	}
}

// insteadOf returns what to write instead of a banned phrase.
func insteadOf(phrase string) string {
	for _, b := range banned {
		if regexp.MustCompile(`(?i)^` + b.phrase + `$`).MatchString(phrase) {
			return b.instead
		}
	}
	return ""
}

package mail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/brand"
	"latchkey/internal/testkit"
)

// The page links to every email in every language. A second run updates the files, also after a
// language was removed.
func TestWritePreviews(t *testing.T) {
	t.Parallel()

	dir := filepath.Join(t.TempDir(), "new")
	extra := directory(t, map[string]string{"texts.en-GB.json": shippedFile(t, "texts.en.json")})
	index, err := mustCompose(ComposerOptions{TextsDir: extra}).WritePreviews(dir)
	testkit.NoError(t, err)
	checkPreviews(t, index, 11, "Latchkey")
	checkFile(t, filepath.Join(dir, "en-GB", "invitation.txt"), true)

	// What people add to the directory stays.
	note := filepath.Join(dir, "en-GB", "note.txt")
	testkit.NoError(t, os.WriteFile(note, nil, 0o600))

	index, err = mustCompose(ComposerOptions{Brand: brand.Brand{Name: "Acme"}}).WritePreviews(dir)
	testkit.NoError(t, err)
	checkPreviews(t, index, 10, "Acme")
	checkFile(t, filepath.Join(dir, "en-GB", "invitation.txt"), false)
	checkFile(t, note, true)
}

func checkPreviews(t *testing.T, index string, languages int, app string) {
	t.Helper()

	page, err := os.ReadFile(index)
	testkit.NoError(t, err)

	links := 0
	for _, n := range nodes(t, string(page)) {
		if n.Data != "a" {
			continue
		}

		links++
		text, err := os.ReadFile(filepath.Join(filepath.Dir(index), attribute(n, "href")))
		testkit.NoError(t, err)
		if !strings.Contains(string(text), app) {
			t.Errorf("%s: got %s, want an email of %s", attribute(n, "href"), text, app)
		}
	}
	if want := 2 * languages * len(Kinds()); links != want {
		t.Errorf("got %d links, want %d", links, want)
	}
}

func checkFile(t *testing.T, path string, want bool) {
	t.Helper()

	if _, err := os.Stat(path); (err == nil) != want {
		t.Errorf("%s: got error %v, want a file: %t", path, err, want)
	}
}

// A directory with other files is refused before anything is written to it.
func TestPreviewsOverwriteNothing(t *testing.T) {
	t.Parallel()

	for name, file := range map[string]string{"another file": "notes.txt", "another page": "index.html"} {
		dir := directory(t, map[string]string{file: "<h1>My site</h1>"})
		if _, err := testComposer.WritePreviews(dir); err == nil || !strings.Contains(err.Error(), "is not empty") {
			t.Errorf("%s: got error %v, want one", name, err)
		}

		found, err := os.ReadDir(dir)
		testkit.NoError(t, err)
		text, err := os.ReadFile(filepath.Join(dir, file))
		testkit.NoError(t, err)
		if len(found) != 1 || string(text) != "<h1>My site</h1>" {
			t.Errorf("%s: got %d files and %s, want the directory unchanged", name, len(found), text)
		}
	}
}

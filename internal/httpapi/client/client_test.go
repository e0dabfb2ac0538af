package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/testkit"
)

func TestCommittedClientIsCurrent(t *testing.T) {
	t.Parallel()

	files, err := generate()
	testkit.NoError(t, err)

	for name, want := range files {
		got, err := os.ReadFile(name)
		testkit.NoError(t, err)

		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is outdated; run go generate ./internal/httpapi/client (-want +got):\n%s", name, diff)
		}
	}
}

// The README states the size of the client.
func TestDocumentedSize(t *testing.T) {
	t.Parallel()

	files, err := generate()
	testkit.NoError(t, err)
	script := files["client.js"]

	var compressed bytes.Buffer
	w, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	testkit.NoError(t, err)
	_, err = w.Write(script)
	testkit.NoError(t, err)
	testkit.NoError(t, w.Close())

	readme, err := os.ReadFile("../../../README.md")
	testkit.NoError(t, err)
	want := fmt.Sprintf("is %.0f kB (%.0f kB with gzip)", float64(len(script))/1000, float64(compressed.Len())/1000)
	if !strings.Contains(string(readme), want) {
		t.Errorf("the README does not state that client.js %s", want)
	}
}

// One object has the parameters, the members of the body and the options, so none of them may have
// the same name.
func TestArgumentsDiffer(t *testing.T) {
	t.Parallel()

	doc := &document{}
	doc.Components.Schemas = map[string]schema{
		"Link":  {Type: "object", Properties: map[string]schema{"provider": {Type: "string"}}},
		"Abort": {Type: "object", Properties: map[string]schema{"signal": {Type: "string"}}},
	}
	w := &typeWriter{doc: doc}

	for _, test := range []struct {
		body       string
		parameters []parameter
		want       bool
	}{
		{"Link", []parameter{{Name: "id"}}, true},
		{"Link", []parameter{{Name: "provider"}}, false},
		{"Abort", nil, false},
		{"", []parameter{{Name: "background"}}, false},
	} {
		if err := w.checkNames(test.body, test.parameters); (err == nil) != test.want {
			t.Errorf("%s with %v: got error %v, want success %v", test.body, test.parameters, err, test.want)
		}
	}
}

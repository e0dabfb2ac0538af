package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommittedCollectionIsCurrent(t *testing.T) {
	t.Parallel()

	want, err := encode(collection())
	if err != nil {
		t.Fatal(err)
	}

	got, err := os.ReadFile("../docs/postman.json")
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/postman.json is outdated; run go generate ./internal/httpapi/postman (-want +got):\n%s", diff)
	}
}

// Postman runs requests by their names, so a folder must not have two of the same name.
func TestRequestNamesAreUnique(t *testing.T) {
	t.Parallel()

	for _, f := range collection().Folders {
		seen := map[string]bool{}
		for _, r := range f.Items {
			if seen[r.Name] {
				t.Errorf("folder %q has two requests named %q", f.Name, r.Name)
			}
			seen[r.Name] = true
		}
	}
}

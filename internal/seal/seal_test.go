package seal

import (
	"slices"
	"testing"
)

// A record opens only under the name and for the purpose that it was sealed for, and unchanged. All secrets
// open records, and the first seals them.
func TestSeal(t *testing.T) {
	t.Parallel()

	older := []byte("the older secret")
	newer := []byte("the newer secret")
	const record = `{"user":"ann"}`
	sealed := New([][]byte{older}, "purpose").Seal("name-1", []byte(record))

	for name, tc := range map[string]struct {
		keys  Keys
		name  string
		value []byte
		want  bool
	}{
		"the same key":      {New([][]byte{older}, "purpose"), "name-1", sealed, true},
		"after a rotation":  {New([][]byte{newer, older}, "purpose"), "name-1", sealed, true},
		"another secret":    {New([][]byte{newer}, "purpose"), "name-1", sealed, false},
		"another purpose":   {New([][]byte{older}, "other"), "name-1", sealed, false},
		"another name":      {New([][]byte{older}, "purpose"), "name-2", sealed, false},
		"a changed record":  {New([][]byte{older}, "purpose"), "name-1", append([]byte("x"), sealed[1:]...), false},
		"a truncated value": {New([][]byte{older}, "purpose"), "name-1", sealed[:len(sealed)-1], false},
		"no MAC":            {New([][]byte{older}, "purpose"), "name-1", []byte(record), false},
		"nothing":           {New([][]byte{older}, "purpose"), "name-1", nil, false},
		"no keys":           {nil, "name-1", sealed, false},
	} {
		got, ok := tc.keys.Open(tc.name, slices.Clone(tc.value))
		if ok != tc.want || ok && string(got) != record {
			t.Errorf("%s: got %q, %v; want %v", name, got, ok, tc.want)
		}
	}

	rotated := New([][]byte{newer, older}, "purpose").Seal("name-1", []byte(record))
	if _, ok := New([][]byte{newer}, "purpose").Open("name-1", rotated); !ok {
		t.Error("got a record that the first secret did not seal")
	}
}

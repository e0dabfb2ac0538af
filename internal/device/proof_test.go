package device

import (
	"fmt"
	"strings"
	"testing"
)

const ann = "ann@example.com"

func proofsOf(secrets ...string) Proofs {
	var all [][]byte
	for _, secret := range secrets {
		all = append(all, []byte(secret))
	}

	return NewProofs(all)
}

func TestKnown(t *testing.T) {
	t.Parallel()

	p := proofsOf("one")
	value := p.Add("", ann)
	name, proof, _ := strings.Cut(value, ".")
	eveName, eveProof, _ := strings.Cut(p.Add("", "eve@example.com"), ".")

	if got := p.Known(value, ann); got != name || got == "" {
		t.Fatalf("Known(%q): got %q, want %q", value, got, name)
	}

	for what, tc := range map[string]struct {
		proofs       Proofs
		value, email string
	}{
		"empty":                    {p, "", ann},
		"another account":          {p, value, "eve@example.com"},
		"another account's proof":  {p, name + "." + eveProof, ann},
		"another device's name":    {p, eveName + "." + proof, ann},
		"another secret":           {proofsOf("two"), value, ann},
		"no proof":                 {p, name, ann},
		"empty proof":              {p, name + ".", ann},
		"no name":                  {p, "." + proof, ann},
		"truncated proof":          {p, value[:len(value)-1], ann},
		"longer proof":             {p, value + "A", ann},
		"short name":               {p, name[1:] + "." + proof, ann},
		"name in another encoding": {p, name + "=." + proof, ann},
		"line break":               {p, name + "\n." + proof, ann},
		"too many proofs":          {p, value + strings.Repeat("."+eveProof, MaxAccounts), ann},
		"no secret":                {NewProofs(nil), value, ann},
	} {
		if got := tc.proofs.Known(tc.value, tc.email); got != "" {
			t.Errorf("Known with %s: got device %q, want none", what, got)
		}
	}
}

// Proofs made with an old secret are accepted until that secret is removed, and Add replaces them with
// proofs made with the new secret. The key is derived from the secret, not the secret itself.
func TestSecrets(t *testing.T) {
	t.Parallel()

	oldValue := proofsOf("one").Add("", ann)
	p := proofsOf("two", "one")
	if p.Known(oldValue, ann) == "" {
		t.Error("Known with a proof made with the old secret: got no device, want one")
	}

	newValue := p.Add(oldValue, ann)
	if proofsOf("two").Known(newValue, ann) == "" || proofsOf("one").Known(newValue, ann) != "" {
		t.Error("Add: got a proof made with the old secret, want one made with the new secret")
	}

	name, proof, _ := strings.Cut(oldValue, ".")
	if !strings.HasPrefix(newValue, name+".") || strings.Count(newValue, ".") != 1 {
		t.Errorf("Add: got %q, want the device name of %q and one proof", newValue, oldValue)
	}
	if prove([]byte("one"), name, ann) == proof {
		t.Error("Add: got a proof with the secret itself as the key, want a derived key")
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()

	p := proofsOf("one")
	email := func(i int) string { return fmt.Sprintf("ann%d@example.com", i) }
	value := p.Add("malformed", email(0))
	name := p.Known(value, email(0))
	if other := p.Add("malformed", email(0)); other == value {
		t.Errorf("Add for two devices: got %q twice, want different names", value)
	}

	for i := 1; i <= MaxAccounts; i++ {
		value = p.Add(value, email(i))
	}

	value = p.Add(value, email(1)) // now account 2 has the oldest login
	value = p.Add(value, email(MaxAccounts+1))

	if n := strings.Count(value, "."); n != MaxAccounts {
		t.Errorf("got %d proofs, want %d", n, MaxAccounts)
	}

	for i := range MaxAccounts + 2 {
		want := name
		if i == 0 || i == 2 {
			want = ""
		}
		if got := p.Known(value, email(i)); got != want {
			t.Errorf("account %d: got known device %q, want %q", i, got, want)
		}
	}
}

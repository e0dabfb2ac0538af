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
	kept := p.Add("", ann)
	name, proof, _ := strings.Cut(kept, ".")
	eve := p.Add("", "eve@example.com")
	eveName, eveProof, _ := strings.Cut(eve, ".")

	if got := p.Known(kept, ann); got != name || got == "" {
		t.Fatalf("Known(%q): got %q, want %q", kept, got, name)
	}

	for what, tc := range map[string]struct {
		proofs      Proofs
		kept, email string
	}{
		"empty":                    {p, "", ann},
		"another account":          {p, kept, "eve@example.com"},
		"another account's proof":  {p, name + "." + eveProof, ann},
		"another device's name":    {p, eveName + "." + proof, ann},
		"another secret":           {proofsOf("two"), kept, ann},
		"no proof":                 {p, name, ann},
		"empty proof":              {p, name + ".", ann},
		"no name":                  {p, "." + proof, ann},
		"truncated proof":          {p, kept[:len(kept)-1], ann},
		"longer proof":             {p, kept + "A", ann},
		"short name":               {p, name[1:] + "." + proof, ann},
		"name in another encoding": {p, name + "=." + proof, ann},
		"line break":               {p, name + "\n." + proof, ann},
		"too many proofs":          {p, kept + strings.Repeat("."+eveProof, MaxAccounts), ann},
		"no secret":                {NewProofs(nil), kept, ann},
	} {
		if got := tc.proofs.Known(tc.kept, tc.email); got != "" {
			t.Errorf("%s: got known device %q, want none", what, got)
		}
	}
}

// Proofs of an old secret are accepted until it is removed, and replaced by proofs of the new
// secret. Proofs do not use the secret itself as the key.
func TestSecrets(t *testing.T) {
	t.Parallel()

	old := proofsOf("one").Add("", ann)
	both := proofsOf("two", "one")
	if both.Known(old, ann) == "" {
		t.Error("got no known device for a proof of the second secret, want one")
	}

	renewed := both.Add(old, ann)
	if proofsOf("two").Known(renewed, ann) == "" || proofsOf("one").Known(renewed, ann) != "" {
		t.Error("got a proof of the second secret after Add, want one of the first")
	}
	if name, _, _ := strings.Cut(old, "."); !strings.HasPrefix(renewed, name+".") || strings.Count(renewed, ".") != 1 {
		t.Errorf("got %q, want one proof for the device of %q", renewed, old)
	}
	if name, proof, _ := strings.Cut(old, "."); prove([]byte("one"), name, ann) == proof {
		t.Error("got a proof with the secret itself as the key, want a derived key")
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()

	p := proofsOf("one")
	email := func(i int) string { return fmt.Sprintf("ann%d@example.com", i) }
	kept := p.Add("malformed", email(0))
	name := p.Known(kept, email(0))
	if again := p.Add("malformed", email(0)); again == kept {
		t.Error("got the same name for two devices")
	}

	for i := 1; i <= MaxAccounts; i++ {
		kept = p.Add(kept, email(i))
	}

	kept = p.Add(kept, email(1)) // account 2 now has the oldest login
	kept = p.Add(kept, email(MaxAccounts+1))

	if n := strings.Count(kept, "."); n != MaxAccounts {
		t.Errorf("got %d accounts, want %d", n, MaxAccounts)
	}

	for i := range MaxAccounts + 2 {
		want := name
		if i == 0 || i == 2 {
			want = ""
		}
		if got := p.Known(kept, email(i)); got != want {
			t.Errorf("account %d: got known device %q, want %q", i, got, want)
		}
	}
}

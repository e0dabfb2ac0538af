package device

import (
	"fmt"
	"strings"
	"testing"
)

const (
	ann   = "ann@example.com"
	annID = "0123456789abcdef01234567"
	eveID = "fedcba9876543210fedcba98"
	now   = "NOW"
)

func signerOf(secrets ...string) Signer {
	var all [][]byte
	for _, secret := range secrets {
		all = append(all, []byte(secret))
	}

	return NewSigner(all)
}

func TestKnown(t *testing.T) {
	t.Parallel()

	s := signerOf("one")
	value := s.Add(Proofs{}, annID, now)
	name, proof, _ := strings.Cut(value, ".")
	eveName, eveProof, _ := strings.Cut(s.Add(Proofs{}, eveID, now), ".")
	mac := proof[strings.LastIndex(proof, ":")+1:]

	if got := s.Read(value).Device(annID, now); got != name || got == "" {
		t.Fatalf("device of %q: got %q, want %q", value, got, name)
	}

	for what, tc := range map[string]struct {
		signer                Signer
		value, id, generation string
	}{
		"empty":                     {s, "", annID, now},
		"no account":                {s, value, "", ""},
		"another account":           {s, value, eveID, now},
		"another account's proof":   {s, name + "." + eveProof, annID, now},
		"another account's MAC":     {s, name + "." + annID + ":" + now + ":" + eveProof[len(eveProof)-22:], annID, now},
		"an ID that is not proved":  {s, name + "." + eveID + ":" + now + ":" + mac, eveID, now},
		"another generation":        {s, value, annID, "LATER"},
		"a generation not proved":   {s, name + "." + annID + ":LATER:" + mac, annID, "LATER"},
		"no generation":             {s, name + "." + annID + ":" + mac, annID, ""},
		"ID and generation shifted": {s, name + "." + annID + ":" + now + "::" + mac, annID, now},
		"another device's name":     {s, eveName + "." + proof, annID, now},
		"another secret":            {signerOf("two"), value, annID, now},
		"no proof":                  {s, name, annID, now},
		"empty proof":               {s, name + ".", annID, now},
		"no name":                   {s, "." + proof, annID, now},
		"truncated proof":           {s, value[:len(value)-1], annID, now},
		"longer proof":              {s, value + "A", annID, now},
		"short name":                {s, name[1:] + "." + proof, annID, now},
		"name in another encoding":  {s, name + "=." + proof, annID, now},
		"line break":                {s, name + "\n." + proof, annID, now},
		"too many proofs":           {s, value + strings.Repeat("."+eveProof, MaxAccounts), annID, now},
		"no secret":                 {NewSigner(nil), value, annID, now},
	} {
		proofs := tc.signer.Read(tc.value)
		if got := proofs.Device(tc.id, tc.generation); got != "" {
			t.Errorf("%s: got device %q, want none", what, got)
		}
	}

	// Nothing is left of a value without a genuine proof, so that nobody can choose a device's name.
	if p := s.Read(name + "." + eveProof); !p.Empty() || p.name != "" || p.WasKnown(annID) || p.WasKnown(eveID) {
		t.Errorf("Read of a forged proof: got %+v, want the zero Proofs", p)
	}
}

// Proofs made with an old secret are accepted until that secret is removed, and Add replaces them with
// proofs made with the new secret. The key is derived from the secret, not the secret itself.
func TestSecrets(t *testing.T) {
	t.Parallel()

	old := signerOf("one")
	oldValue := old.Add(old.Read(old.Add(Proofs{}, eveID, now)), annID, now)
	both := signerOf("two", "one")
	if both.Read(oldValue).Device(annID, now) == "" {
		t.Error("proof made with the old secret: got no device, want one")
	}

	newValue := both.Add(both.Read(oldValue), annID, now)
	for _, id := range []string{annID, eveID} {
		if signerOf("two").Read(newValue).Device(id, now) == "" || old.Read(newValue).Device(id, now) != "" {
			t.Errorf("Add: got a proof for %s made with the old secret, want one made with the new secret", id)
		}
	}

	name, _, _ := strings.Cut(oldValue, ".")
	if !strings.HasPrefix(newValue, name+".") || strings.Count(newValue, ".") != 2 {
		t.Errorf("Add: got %q, want the device name of %q and two proofs", newValue, oldValue)
	}
	if strings.Contains(oldValue, prove([]byte("one"), name, account{annID, now})) {
		t.Error("Add: got a proof with the secret itself as the key, want a derived key")
	}
}

// A new generation replaces the proof of the previous one, which no longer counts.
func TestNewGeneration(t *testing.T) {
	t.Parallel()

	s := signerOf("one")
	before := s.Read(s.Add(Proofs{}, annID, ""))
	after := s.Read(s.Add(before, annID, now))

	if before.Device(annID, "") == "" || before.Device(annID, now) != "" || !before.WasKnown(annID) {
		t.Errorf("before the change: got %+v, want a device known to the first generation only", before)
	}
	if after.Device(annID, "") != "" || after.Device(annID, now) != before.name || len(after.accounts) != 1 {
		t.Errorf("after the change: got %+v, want the same device known to the new generation only", after)
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()

	s := signerOf("one")
	id := func(i int) string { return fmt.Sprintf("account%d", i) }
	value := s.Add(s.Read("malformed"), id(0), now)
	name := s.Read(value).Device(id(0), now)
	if other := s.Add(s.Read("malformed"), id(0), now); other == value {
		t.Errorf("Add for two devices: got %q twice, want different names", value)
	}

	for i := 1; i <= MaxAccounts; i++ {
		value = s.Add(s.Read(value), id(i), now)
	}

	value = s.Add(s.Read(value), id(1), now) // now account 2 has the oldest login
	value = s.Add(s.Read(value), id(MaxAccounts+1), now)

	if n := strings.Count(value, "."); n != MaxAccounts {
		t.Errorf("got %d proofs, want %d", n, MaxAccounts)
	}

	for i := range MaxAccounts + 2 {
		want := name
		if i == 0 || i == 2 {
			want = ""
		}
		if got := s.Read(value).Device(id(i), now); got != want {
			t.Errorf("account %d: got known device %q, want %q", i, got, want)
		}
	}
}

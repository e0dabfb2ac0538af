package auth

import (
	"context"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/user"
)

// A token of a mail is read only as it was made: there is one spelling of each, and it is
// of one kind and one account.
func FuzzReadToken(f *testing.F) {
	token, err := newToken(user.ResetTicket, strings.Repeat("0a", tokenIDBytes))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{token, "", token[:59] + "\n", token + "=", strings.Repeat("_", 60), strings.Repeat("A", 60), "Ag" + token[2:]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		kind, id, err := readToken(s)
		if err != nil {
			if kind != "" || id != "" {
				t.Errorf("%q is refused, and is %s of %s", s, kind, id)
			}
			return
		}
		raw, err := hex.DecodeString(id)
		if err != nil || len(raw) != tokenIDBytes {
			t.Fatalf("%q is of %q", s, id)
		}
		again, err := newToken(kind, id)
		// Kind and account are the first 13 bytes: 17 characters and 2 bits.
		if err != nil || len(again) != len(s) || again[:17] != s[:17] {
			t.Errorf("%q is %s of %s, which makes %q, %v", s, kind, id, again, err)
		}
		if ticketHash(s) == ticketHash(again) {
			t.Errorf("%q and %q have one hash", s, again)
		}
	})
}

// Whatever is stored for a hash, nobody gets in by it who does not know the password, and
// looking takes as much work as a hash of now, and no more than the largest that is taken.
func FuzzStoredHash(f *testing.F) {
	const cost = 10
	for _, stored := range []string{
		"", prehashed, string(dummy(4)), prehashed + string(dummy(10)), string(dummy(31)), "$2b$99$" + strings.Repeat("a", 53), "$2a$-1$" + strings.Repeat("a", 53), "$1$abc", prehashed + prehashed + string(dummy(5)),
	} {
		f.Add(stored, "password123")
		f.Add(stored, strings.Repeat("é", 40)+"\x00")
	}
	p := newPool(1, time.Minute)
	f.Cleanup(p.close)
	var work int // in hashes of the least cost
	h := newHasher(cost, p)
	h.compare = func(hash, _ []byte) error {
		c, err := bcrypt.Cost(hash)
		if err == nil {
			work += 1 << c
			err = bcrypt.ErrMismatchedHashAndPassword
		}
		return err
	}
	f.Fuzz(func(t *testing.T, stored, password string) {
		work = 0
		ok, _, _ := h.verify(context.Background(), stored, password)
		if ok {
			t.Errorf("%q opens %q", password, stored)
		}
		if work < 1<<cost || work > 1<<maxStoredCost {
			t.Errorf("%q takes the work of %d", stored, work)
		}
	})
}

// A password is breached only where a line of the answer is the rest of its hash, with a
// count that is not zero; and an answer that holds that is not passed over.
func FuzzInRange(f *testing.F) {
	const suffix = "0018A45C4D1DEF81644B54AB7F969B88D65"
	for _, body := range []string{suffix + ":3\r\n", suffix + ":0\n", "x", suffix + ":", suffix + ":-1", strings.ToLower(suffix) + ":00012", "00D4F6E8FA6EECAD2A3AA415EEC418D38EC:2\r\n" + suffix + ":1"} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		found, err := inRange(strings.NewReader(body), suffix)
		if found && (err != nil || !strings.Contains(strings.ToUpper(body), suffix+":")) {
			t.Errorf("%q: found, %v", body, err)
		}
		if ours := suffix + ":7\r\n"; !found && err == nil {
			if body != "" && !strings.HasSuffix(body, "\n") {
				body += "\n"
			}
			if found, err := inRange(strings.NewReader(body+ours), suffix); !found || err != nil {
				t.Errorf("%q hides a line behind it: %v", body, err)
			}
		}
	})
}

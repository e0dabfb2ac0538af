package activity

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
)

// Whatever a client sends, an event is text that is seen, short, and the same after it
// was stored; and what passes for the ID of an event is one.
func FuzzEvent(f *testing.F) {
	f.Add("Mozilla/5.0 (X11; Linux x86_64)", "https://evil.example", "0123456789abcdef01234567")
	f.Add("a\r\n\x1b[2J\u202e\u2028", "null", "0123456789ABCDEF01234567")
	f.Add(strings.Repeat("é", 200), "\xff\xfe", "0123456789abcdef0123456\n")
	f.Fuzz(func(t *testing.T, agent, origin, id string) {
		e := Event{Name: Login, UserAgent: agent, Device: agent, Origin: origin, IP: origin, Provider: agent}.cleaned()
		for _, text := range []string{e.UserAgent, e.Device, e.Origin, e.IP, e.Provider} {
			if len(text) > maxText || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q and %q leave %q", agent, origin, text)
			}
		}
		if e.cleaned() != e {
			t.Errorf("%+v is not clean", e)
		}
		oid, err := primitive.ObjectIDFromHex(id)
		if IsID(id) != (err == nil) || err == nil && oid.Hex() != strings.ToLower(id) {
			t.Errorf("%q is an ID: %v", id, IsID(id))
		}
		stored, err := bson.Marshal(newDocument(oid, e))
		if err != nil {
			t.Fatal(err)
		}
		var d document
		if err := bson.Unmarshal(stored, &d); err != nil {
			t.Fatal(err)
		}
		if e.ID, e.At = oid.Hex(), d.At.UTC(); d.event() != e {
			t.Errorf("%+v is stored as %+v", e, d.event())
		}
	})
}

package activity

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"latchkey/internal/testkit"
)

// Whatever a client sends, the texts of an event are printable and short, and do not change in
// the collection. IsID accepts exactly the IDs of events.
func FuzzEvent(f *testing.F) {
	f.Add("Mozilla/5.0 (X11; Linux x86_64)", "https://evil.example", "0123456789abcdef01234567")
	f.Add("a\r\n\x1b[2J\u202e\u2028", "null", "0123456789ABCDEF01234567")
	f.Add(strings.Repeat("é", 200), "\xff\xfe", "0123456789abcdef0123456\n")
	f.Fuzz(func(t *testing.T, agent, origin, id string) {
		e := Event{Name: Login, UserAgent: agent, Device: agent, Origin: origin, IP: origin, Provider: agent}.cleaned()
		for _, text := range []string{e.UserAgent, e.Device, e.Origin, e.IP, e.Provider} {
			if len(text) > maxText || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("got text %q for agent %q and origin %q, want short printable UTF-8", text, agent, origin)
			}
		}

		if e.cleaned() != e {
			t.Errorf("got %+v, which changes if it is cleaned again", e)
		}

		oid, err := primitive.ObjectIDFromHex(id)
		if IsID(id) != (err == nil) || err == nil && oid.Hex() != strings.ToLower(id) {
			t.Errorf("IsID(%q): got %t, want %t", id, IsID(id), err == nil)
		}

		stored, err := bson.Marshal(document{ID: oid, Event: e})
		testkit.NoError(t, err)

		var d document
		testkit.NoError(t, bson.Unmarshal(stored, &d))

		e.ID = oid.Hex()
		e.At = d.At.UTC()
		if got := d.event(); got != e {
			t.Errorf("got stored event %+v, want %+v", got, e)
		}
	})
}

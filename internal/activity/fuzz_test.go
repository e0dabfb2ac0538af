package activity

import (
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"latchkey/internal/testkit"
)

// Whatever a client sends, an event's texts are printable and short, and the collection returns the
// event unchanged.
func FuzzEvent(f *testing.F) {
	f.Add("Mozilla/5.0 (X11; Linux x86_64)", "https://evil.example")
	for _, s := range hostileTexts {
		f.Add(s, s)
	}

	f.Fuzz(func(t *testing.T, agent, origin string) {
		e := Event{Name: Login, UserAgent: agent, Device: agent, Origin: origin, IP: origin, Provider: agent}.cleaned()
		for _, text := range []string{e.UserAgent, e.Device, e.Origin, e.IP, e.Provider} {
			if !isClean(text) {
				t.Errorf("got text %q for agent %q and origin %q, want short printable UTF-8", text, agent, origin)
			}
		}

		if e.cleaned() != e {
			t.Errorf("cleaned twice: got %+v, want %+v, as after the first time", e.cleaned(), e)
		}

		id := primitive.NewObjectID()
		encoded, err := bson.Marshal(document{ID: id, Event: e})
		testkit.NoError(t, err)

		var d document
		testkit.NoError(t, bson.Unmarshal(encoded, &d))

		e.ID = id.Hex()
		e.At = d.At.UTC()
		if got := d.event(); got != e {
			t.Errorf("encoded and decoded: got %+v, want %+v", got, e)
		}
	})
}

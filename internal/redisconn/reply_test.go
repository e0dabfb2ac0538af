package redisconn

import (
	"errors"
	"strings"
	"testing"
)

// A reply of the wrong type is ErrUnavailable. ErrNil and earlier errors are returned unchanged.
func TestReply(t *testing.T) {
	t.Parallel()
	earlier := errors.New("earlier")
	drop := func(_ any, err error) error { return err }
	for name, convert := range map[string]func(any, error) error{
		"Bytes":   func(reply any, err error) error { return drop(Bytes(reply, err)) },
		"String":  func(reply any, err error) error { return drop(String(reply, err)) },
		"Strings": func(reply any, err error) error { return drop(Strings(reply, err)) },
		"Values":  func(reply any, err error) error { return drop(Values(reply, err)) },
		"Int64":   func(reply any, err error) error { return drop(Int64(reply, err)) },
		"Bool":    func(reply any, err error) error { return drop(Bool(reply, err)) },
		"Scan": func(reply any, err error) error {
			var n int64
			return Scan(reply, err, &n)
		},
	} {
		wrong := map[string]any{"an integer": int64(7), "a string": []byte("x"), "an array": []any{[]any{}}}
		switch name {
		case "Bytes", "String":
			delete(wrong, "a string")
		case "Values":
			delete(wrong, "an array")
		case "Int64":
			delete(wrong, "an integer")
		}

		for kind, reply := range wrong {
			if err := convert(reply, nil); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "unexpected reply") {
				t.Errorf("%s of %s: got %v, want ErrUnavailable", name, kind, err)
			}
		}
		if err := convert(nil, nil); !errors.Is(err, ErrNil) || errors.Is(err, ErrUnavailable) {
			t.Errorf("%s of nil: got %v, want ErrNil", name, err)
		}
		if err := convert(nil, earlier); err != earlier { //nolint:errorlint // exactly this error
			t.Errorf("%s after an error: got %v, want %v", name, err, earlier)
		}
	}

	var n int64
	if err := Scan([]any{}, nil, &n); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Scan of too few elements: got %v, want ErrUnavailable", err)
	}

	if yes, err := Bool(int64(1), nil); !yes || err != nil {
		t.Errorf("Bool of 1: got %t, %v; want true", yes, err)
	}

	if yes, err := Bool(int64(0), nil); yes || err != nil {
		t.Errorf("Bool of 0: got %t, %v; want false", yes, err)
	}
}

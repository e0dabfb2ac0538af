package redisconn

import (
	"errors"
	"strings"
	"testing"
)

// errorOf returns only the error of a conversion.
func errorOf[T any](convert func(any, error) (T, error)) func(any, error) error {
	return func(reply any, err error) error {
		_, err = convert(reply, err)
		return err
	}
}

// A reply of the wrong type results in ErrUnavailable. ErrNil and earlier errors are returned unchanged.
func TestReply(t *testing.T) {
	t.Parallel()
	earlier := errors.New("earlier")
	for name, tc := range map[string]struct {
		convert  func(any, error) error
		badReply any
	}{
		"Bytes":   {errorOf(Bytes), int64(7)},
		"String":  {errorOf(String), int64(7)},
		"Strings": {errorOf(Strings), []any{[]any{}}},
		"Values":  {errorOf(Values), []byte("x")},
		"Int64":   {errorOf(Int64), []byte("x")},
		"Bool":    {errorOf(Bool), int64(7)},
		"Scan":    {func(reply any, err error) error { return Scan(reply, err, new(int64)) }, []any{}},
	} {
		err := tc.convert(tc.badReply, nil)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "unexpected reply") {
			t.Errorf("%s(%v): got %v, want ErrUnavailable for an unexpected reply", name, tc.badReply, err)
		}
		if err := tc.convert(nil, nil); !errors.Is(err, ErrNil) || errors.Is(err, ErrUnavailable) {
			t.Errorf("%s(nil): got %v, want ErrNil", name, err)
		}
		if err := tc.convert(nil, earlier); err != earlier { //nolint:errorlint // exactly this error
			t.Errorf("%s after an error: got %v, want %v", name, err, earlier)
		}
	}

	for reply, want := range []bool{false, true} {
		if got, err := Bool(int64(reply), nil); got != want || err != nil {
			t.Errorf("Bool(%d): got %t, %v; want %t", reply, got, err, want)
		}
	}
}

package redisconn

import (
	"errors"
	"fmt"

	"github.com/gomodule/redigo/redis"
)

// ErrNil is returned by the conversion of a nil reply: the value does not exist.
var ErrNil = redis.ErrNil

// These functions convert the reply to a command to the type that the caller expects. If err
// is not nil, they return it unchanged. Errors: ErrNil for a nil reply; ErrUnavailable for a
// reply of another type.
var (
	Bytes   = expect(redis.Bytes)
	String  = expect(redis.String)
	Strings = expect(redis.Strings)
	Values  = expect(redis.Values)
	Int64   = expect(redis.Int64)
	Bool    = expect(zeroOrOne)
)

// Scan copies the elements of an array reply to dest, like redis.Scan. Errors: same as
// Values.
func Scan(reply any, err error, dest ...any) error {
	convert := expect(func(reply any, err error) ([]any, error) {
		values, err := redis.Values(reply, err)
		if err != nil {
			return nil, err
		}

		return redis.Scan(values, dest...)
	})

	_, err = convert(reply, err)

	return err
}

// expect returns a conversion like convert that wraps an unexpected reply in ErrUnavailable.
func expect[T any](convert func(any, error) (T, error)) func(any, error) (T, error) {
	return func(reply any, err error) (T, error) {
		value, convertErr := convert(reply, err)

		unexpected := err == nil && convertErr != nil && !errors.Is(convertErr, ErrNil)
		if unexpected {
			convertErr = fmt.Errorf("%w: unexpected reply: %w", ErrUnavailable, convertErr)
		}

		return value, convertErr
	}
}

// zeroOrOne converts the integers 0 and 1 to a bool.
func zeroOrOne(reply any, err error) (bool, error) {
	n, err := redis.Int64(reply, err)
	if err == nil && n != 0 && n != 1 {
		err = fmt.Errorf("got %d, want 0 or 1", n)
	}
	return n == 1, err
}

package redisconn

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

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
	_, err = expect(func(reply any, err error) ([]any, error) {
		values, err := redis.Values(reply, err)
		if err != nil {
			return nil, err
		}

		return redis.Scan(values, dest...)
	})(reply, err)

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

// noPermission is the error of a script without the permission for a command, before Redis 7.2.
const noPermission = "The user executing the script can't"

// Code returns the code of an error reply from Redis, such as NOPERM, or "" for another error.
func Code(err error) string {
	reply, _ := errors.AsType[redis.Error](err)
	text := string(reply)
	if strings.Contains(text, noPermission) {
		return "NOPERM"
	}

	if _, inScript, ok := strings.Cut(text, ": -"); ok { // before Redis 7
		text = inScript
	}

	code, _, _ := strings.Cut(text, " ")

	return code
}

// isDemoted reports whether err means that a server did not run a command because it is a replica
// or is becoming one.
func isDemoted(err error) bool {
	return slices.Contains([]string{"READONLY", "MASTERDOWN", "LOADING"}, Code(err)) && !errors.Is(err, errNotConfirmed)
}

// isDeadConn reports whether err means that a connection was closed during a command (end of
// file, connection reset, broken pipe). Only then does a retry help: not if Redis is slow,
// refuses connections, or replies with an error.
func isDeadConn(err error) bool {
	if err == nil || isTimeout(err) || errors.Is(err, errNotConfirmed) {
		return false
	}

	_, replied := errors.AsType[redis.Error](err)
	opErr, _ := errors.AsType[*net.OpError](err)
	unreachable := opErr != nil && opErr.Op == "dial"

	return !replied && !unreachable
}

func isTimeout(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}

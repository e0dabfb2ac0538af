package session

import (
	"errors"
	"fmt"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/redisconn"
)

// What Redis answers, as what it must be. An answer of another kind is nothing that
// can be relied on, so it is ErrUnavailable; redis.ErrNil is a missing key.
var (
	asBytes   = answer(redis.Bytes)
	asString  = answer(redis.String)
	asStrings = answer(redis.Strings)
	asValues  = answer(redis.Values)
	asBool    = answer(func(reply any, err error) (bool, error) {
		n, err := redis.Int64(reply, err)
		if err == nil && n != 0 && n != 1 {
			err = fmt.Errorf("neither yes nor no: %d", n)
		}
		return n == 1, err
	})
)

func answer[T any](convert func(any, error) (T, error)) func(any, error) (T, error) {
	return func(reply any, err error) (T, error) {
		v, err := convert(reply, err)
		if err != nil && !errors.Is(err, redis.ErrNil) && !errors.Is(err, redisconn.ErrUnavailable) {
			err = strange(err)
		}
		return v, err
	}
}

func strange(err error) error {
	return fmt.Errorf("%w: strange answer: %w", redisconn.ErrUnavailable, err)
}

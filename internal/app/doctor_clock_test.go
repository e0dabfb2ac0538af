package app

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/internal/doctor"
)

// The doctor compares the clock of Redis with ours. A Redis that does not reply to TIME is not judged.
func TestRedisClock(t *testing.T) {
	t.Parallel()

	for ahead, want := range map[time.Duration]doctor.Level{0: doctor.OK, time.Minute: doctor.Warning, -time.Minute: doctor.Warning} {
		redis := func(string, ...any) (any, error) {
			return []any{fmt.Append(nil, time.Now().Add(ahead).Unix()), []byte("0")}, nil
		}
		found := checkClock("10.0.0.1:6379", redis)
		if len(found) != 1 || found[0].Level != want {
			t.Errorf("%s ahead: got %+v, want level %s", ahead, found, want)
		}
		if ahead > 0 && !strings.Contains(found[0].Message, "ahead of ours") {
			t.Errorf("%s ahead: got %q", ahead, found[0].Message)
		}
	}

	denied := func(string, ...any) (any, error) { return nil, errors.New("NOPERM") }
	if found := checkClock("10.0.0.1:6379", denied); found != nil {
		t.Errorf("no permission: got %+v, want no finding", found)
	}
}

package session

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"latchkey/internal/testkit"
)

// The pages have the live sessions of all users, and no others.
func TestPage(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)

	var want []string
	for i := range 60 {
		s, token, err := m.Begin(background, login(t, m, fmt.Sprintf("u%d", i)))
		testkit.NoError(t, err)
		switch i {
		case 0:
			testkit.NoError(t, logOut(m, token))
		case 1:
			_, err := conn.Do("SET", m.keys.record(s.ID), "a record that we did not sign")
			testkit.NoError(t, err)
		default:
			want = append(want, s.ID)
		}
	}

	var got []string
	next := ""
	for {
		page, following, err := m.Page(background, next, 10)
		testkit.NoError(t, err)
		for _, s := range page {
			got = append(got, s.ID)
			if s.Email != s.UserID+"@example.com" {
				t.Errorf("session %s: got email %s of user %s", s.ID, s.Email, s.UserID)
			}
		}
		if following == "" {
			break
		}

		next = following
	}

	slices.Sort(got)
	slices.Sort(want)
	if got := slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("sessions: got %d, want %d:\n%v\n%v", len(got), len(want), got, want)
	}

	if _, _, err := m.Page(background, "made-up", 10); !errors.Is(err, ErrBadPosition) {
		t.Errorf("a position that was made up: got error %v, want ErrBadPosition", err)
	}
}

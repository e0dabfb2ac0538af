package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"latchkey/internal/testkit"
)

// newTerminal returns the two ends of a pseudo-terminal: that of the person and that of the program.
func newTerminal(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()

	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = keyboard.Close() })

	raw, err := keyboard.SyscallConn()
	testkit.NoError(t, err)
	var number int
	var failed error
	testkit.NoError(t, raw.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}))
	testkit.NoError(t, failed)

	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = tty.Close() })

	return keyboard, tty
}

// On a terminal a password is asked for twice, and not shown. From a pipe it is read once, without a prompt.
func TestPasswordPrompt(t *testing.T) {
	t.Parallel()
	o := newOperator(t)

	for i, tc := range []struct {
		typed []string
		want  string // error
	}{
		{[]string{"a long password", "a long password"}, ""},
		{[]string{"a long password", "a long passwort"}, "passwords do not match; nothing was changed"},
		{[]string{""}, "empty password; nothing was changed"},
	} {
		keyboard, tty := newTerminal(t)
		shown := &testkit.Buffer{}
		go func() { _, _ = io.Copy(shown, keyboard) }()

		prompts := &testkit.Buffer{}
		email := fmt.Sprintf("ann%d@example.com", i)
		done := make(chan error, 1)
		go func() {
			done <- run(context.Background(), []string{"users", "create", email, "Ann"}, o.environ, stdio{tty, io.Discard, prompts})
		}()

		for n, password := range tc.typed {
			testkit.Eventually(t, "the prompt", func() bool { return strings.Count(prompts.String(), ": ") == n+1 })
			awaitNoEcho(t, tty)
			_, err := io.WriteString(keyboard, password+"\n")
			testkit.NoError(t, err)
		}

		err := testkit.Receive(t, "the end of the command", done)
		if got := errorText(err); got != tc.want {
			t.Errorf("typed %q: got error %q, want %q", tc.typed, got, tc.want)
		}
		want := []string{"Password: \n", "Repeat password: \n"}[:len(tc.typed)]
		if got := prompts.String(); got != strings.Join(want, "") {
			t.Errorf("typed %q: got prompts %q, want %q", tc.typed, got, want)
		}
		if strings.Contains(shown.String(), "password") {
			t.Errorf("the terminal shows the password: %q", shown)
		}

		_, err = command(o.environ, "", "users", "show", email)
		if exists := err == nil; exists != (tc.want == "") {
			t.Errorf("typed %q: account exists: %t, %v", tc.typed, exists, err)
		}
	}

	messages := &testkit.Buffer{}
	pipe := stdio{strings.NewReader("another password\n"), io.Discard, messages}
	if err := run(context.Background(), []string{"users", "set-password", "ann0@example.com"}, o.environ, pipe); err != nil {
		t.Errorf("from a pipe: %v", err)
	}
	if messages.String() != "" {
		t.Errorf("from a pipe: got messages %q, want none", messages)
	}
	status, _, _ := o.request("POST", "/auth/login", "", `{"email":"ann0@example.com","password":"another password"}`)
	if status != 200 {
		t.Errorf("login with the password from the pipe: got %d, want 200", status)
	}
}

// awaitNoEcho waits until the program has turned off the echo of a terminal: it prints the prompt
// before.
func awaitNoEcho(t *testing.T, tty *os.File) {
	t.Helper()

	testkit.Eventually(t, "the echo to be off", func() bool {
		settings, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)

		return err == nil && settings.Lflag&unix.ECHO == 0
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}

	return err.Error()
}

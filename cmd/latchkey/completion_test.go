package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"latchkey/internal/testkit"
)

// complete returns what a shell offers for the last argument.
func complete(t *testing.T, args ...string) []string {
	t.Helper()

	out, err := command(nil, "", append([]string{cobra.ShellCompNoDescRequestCmd}, args...)...)
	testkit.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(out), "\n")

	return lines[:len(lines)-1] // the last line is for the script
}

// Completion offers commands and flags, and needs no settings. It offers no files, because no argument is
// one.
func TestCompletion(t *testing.T) {
	t.Parallel()

	for args, want := range map[string]string{
		"ver":              "version",
		"users s":          "search set-password show",
		"users enable ":    "",
		"users re":         "reset-factors",
		"rek":              "rekey",
		"sessions list --": "--json --after --help --limit",
		"completion ":      "bash fish powershell zsh",
	} {
		got := complete(t, strings.Split(args, " ")...)
		got = slices.DeleteFunc(got, func(line string) bool { return strings.HasSuffix(line, "=") })
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", args, got, want)
		}
	}

	for args, want := range map[string]string{"users show ": ":4", "users reset-factors ": ":4", "sessions list ": ":4"} {
		out, err := command(nil, "", append([]string{cobra.ShellCompNoDescRequestCmd}, strings.Split(args, " ")...)...)
		if err != nil || !strings.HasPrefix(out, want) {
			t.Errorf("%q: got %q and error %v, want %s: no files", args, out, err, want)
		}
	}
}

// Each script works in its shell, if that is installed.
func TestCompletionScripts(t *testing.T) {
	t.Parallel()

	for shell, want := range map[string]string{
		"bash": "complete -o default -F __start_latchkey latchkey",
		"zsh":  "#compdef latchkey",
		"fish": "complete -c latchkey",
	} {
		script, err := command(nil, "", "completion", shell)
		if err != nil || !strings.Contains(script, want) {
			t.Errorf("completion %s: got error %v and %.100q, want %q", shell, err, script, want)
		}

		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		file := filepath.Join(t.TempDir(), shell)
		testkit.NoError(t, os.WriteFile(file, []byte(script), 0o600))
		if out, err := exec.Command(shell, "-n", file).CombinedOutput(); err != nil {
			t.Errorf("completion %s: %v\n%s", shell, err, out)
		}
	}
}

// Every command and every flag has a description, and --help works without settings.
func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()

	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		out, err := command(nil, "", append(path, "--help")...)
		if err != nil || !strings.Contains(out, "Usage:\n  "+cmd.CommandPath()) || cmd.Short == "" {
			t.Errorf("%s: got error %v, short help %q and help %q", cmd.CommandPath(), err, cmd.Short, out)
		}
		for line := range strings.Lines(out) {
			if len(strings.TrimRight(line, "\n")) > 110 {
				t.Errorf("%s: a line of the help has more than 110 characters: %s", cmd.CommandPath(), line)
			}
		}

		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&program{}))
}

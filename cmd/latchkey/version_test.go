package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// stamps returns the flags with which the Makefile in dir tells the linker the version.
func stamps(t *testing.T, dir string, variables ...string) string {
	t.Helper()

	cmd := exec.Command("make", append([]string{"-n", "build"}, variables...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MAKEFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make -n build: %v\n%s", err, out)
	}

	return strings.Join(regexp.MustCompile(`-X latchkey/[^\s"]*`).FindAllString(string(out), -1), " ")
}

// "make build VERSION=..." stamps the program. The command, the OpenAPI document and the metrics show the
// same version.
func TestVersionIsStamped(t *testing.T) {
	t.Parallel()

	const version = "v9.8.7"
	const revision = "0123456789abcdef"
	file := build(t, "-ldflags", stamps(t, "../..", "VERSION="+version, "REVISION="+revision))

	for _, arg := range []string{"version", "--version"} {
		out, err := exec.Command(file, arg).Output()
		if err != nil || string(out) != "latchkey "+version+"\n" {
			t.Errorf("latchkey %s: got %q and error %v, want %s", arg, out, err, version)
		}
	}

	p := startProcess(t, file, withoutStores("OPS_ADDR=127.0.0.1:0", "DRAIN_TIME=0"))

	var document struct{ Info struct{ Version string } }
	testkit.NoError(t, json.Unmarshal([]byte(send(t, "GET", "http://"+p.addr+"/openapi.json", "").text), &document))
	if document.Info.Version != version {
		t.Errorf("version in /openapi.json: got %q, want %q", document.Info.Version, version)
	}

	info := regexp.MustCompile(`latchkey_build_info{.*}`).FindString(send(t, "GET", "http://"+opsAddr(t, p.out)+"/metrics", "").text)
	if !strings.Contains(info, `version="`+version+`"`) || !strings.Contains(info, `revision="`+revision+`"`) {
		t.Errorf("metrics: got %s, want version %s and revision %s", info, version, revision)
	}
}

// A copy of the sources without Git has no version, even if it is inside of another repository.
func TestVersionWithoutGit(t *testing.T) {
	t.Parallel()

	outer := t.TempDir()
	for _, args := range [][]string{
		{"init", "-q"},
		{"-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "--allow-empty", "-m", "other"},
	} {
		out, err := exec.Command("git", append([]string{"-C", outer}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}

	dir := filepath.Join(outer, "latchkey")
	testkit.NoError(t, os.Mkdir(dir, 0o700))
	text, err := os.ReadFile("../../Makefile")
	testkit.NoError(t, err)
	testkit.NoError(t, os.WriteFile(filepath.Join(dir, "Makefile"), text, 0o600))

	want := "-X latchkey/internal/buildinfo.version= -X latchkey/internal/buildinfo.revision="
	if got := stamps(t, dir); got != want {
		t.Errorf("flags: got %q, want %q", got, want)
	}
}

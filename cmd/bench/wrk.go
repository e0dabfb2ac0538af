package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

//go:embed lua
var scripts embed.FS

// connections are as many as there are clients, where nothing else is said.
const connections = 64

// load is what wrk does.
type load struct {
	url         string
	cookie      string
	connections int
	length      time.Duration
	scripts     []string // files of lua, without the ending
	args        []string // of the scripts
}

// result is what wrk found.
type result struct {
	OK      int // answers 200
	Refused int // answers 503, where these are no failure
	Wrong   int // anything else

	Microseconds float64 // that it took
	P50, P99     float64 // microseconds

	used usage // processor time meanwhile
}

func (r result) rate() float64 { return float64(r.OK) / (r.Microseconds / 1e6) }
func (r result) p50() float64  { return r.P50 / 1000 } // milliseconds
func (r result) p99() float64  { return r.P99 / 1000 }

// each is the processor time of a process for one answer, in microseconds.
func (r result) each(process string) float64 { return r.used[process] * 1e6 / float64(r.OK) }

// wrk puts a load on a server, and fails where an answer is not what it must be.
func (b *bench) wrk(l load) (result, error) {
	running, err := b.startWrk(l)
	if err != nil {
		return result{}, err
	}
	return running.wait()
}

// running is a wrk under way.
type running struct {
	*bench
	load
	cmd    *exec.Cmd
	out    bytes.Buffer
	before usage
}

func (b *bench) startWrk(l load) (*running, error) {
	var script bytes.Buffer
	for _, name := range append(l.scripts, "figures") {
		text, err := scripts.ReadFile("lua/" + name + ".lua")
		if err != nil {
			return nil, err
		}
		script.Write(text)
	}
	file := filepath.Join(b.dir, strings.Join(append(l.scripts, "wrk.lua"), "-"))
	if err := os.WriteFile(file, script.Bytes(), 0o600); err != nil {
		return nil, err
	}
	if l.connections == 0 {
		l.connections = connections
	}
	// The rest of the processors is for the others.
	threads := min(max(1, runtime.NumCPU()/2), l.connections)
	args := []string{
		"--connections", strconv.Itoa(l.connections), "--threads", strconv.Itoa(threads),
		"--duration", fmt.Sprintf("%ds", max(1, int(l.length.Seconds()))), "--timeout", "30s", "--script", file,
	}
	for name, value := range headers(l.cookie) {
		args = append(args, "--header", name+": "+value)
	}
	r := &running{bench: b, load: l, cmd: b.command("wrk", append(append(args, l.url, "--"), l.args...)...)}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	var err error
	if r.before, err = b.used(); err != nil {
		return nil, err
	}
	return r, r.cmd.Start()
}

// wait returns what it found once it is over.
func (r *running) wait() (found result, err error) {
	if err := r.cmd.Wait(); err != nil {
		return result{}, fmt.Errorf("wrk %s: %w\n%s", r.url, err, &r.out)
	}
	now, err := r.used()
	if err != nil {
		return result{}, err
	}
	i := bytes.LastIndex(r.out.Bytes(), []byte("\n{"))
	if i < 0 {
		return result{}, fmt.Errorf("wrk %s: no figures\n%s", r.url, &r.out)
	}
	if err := json.Unmarshal(r.out.Bytes()[i:], &found); err != nil {
		return result{}, fmt.Errorf("wrk %s: %w\n%s", r.url, err, &r.out)
	}
	r.answered += found.OK + found.Refused
	r.failed += found.Wrong
	// On a machine that is busy with other things a store may be late for some.
	if found.Wrong >= found.OK+found.Refused {
		return result{}, fmt.Errorf("wrk %s: %d answers are wrong, %d are right\n%s", r.url, found.Wrong, found.OK, &r.out)
	}
	found.used = now.since(r.before)
	state := r.cmd.ProcessState
	found.used["wrk"] = (state.UserTime() + state.SystemTime()).Seconds()
	return found, nil
}

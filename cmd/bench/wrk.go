package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
)

//go:embed wrk.lua
var wrkScript []byte

// sample is one measurement.
type sample struct {
	Count    float64 // the number of requests or password comparisons
	Errors   float64
	Bytes    float64
	Seconds  float64
	P50, P99 float64 // milliseconds

	commands float64 // the number of Redis commands
}

func (s sample) rate() float64         { return s.Count / s.Seconds }
func (s sample) p50() float64          { return s.P50 }
func (s sample) p99() float64          { return s.P99 }
func (s sample) size() float64         { return s.Bytes / s.Count }
func (s sample) commandsEach() float64 { return s.commands / s.Count }
func (s sample) coreSeconds() float64  { return s.Seconds * float64(runtime.NumCPU()) / s.Count }

// maxErrors is the highest acceptable share of failed requests. On a busy machine a store may time
// out now and then.
const maxErrors = 0.01

// measure makes wrk send a request again and again.
func (b *bench) measure(r request, connections int) (sample, error) {
	file := filepath.Join(b.dir, "wrk.lua")
	if err := os.WriteFile(file, wrkScript, 0o600); err != nil {
		return sample{}, err
	}

	args := []string{
		"--connections", strconv.Itoa(connections),
		"--threads", strconv.Itoa(max(1, runtime.NumCPU()/2)), // the other processors are for the server
		"--duration", strconv.Itoa(int(b.duration.Seconds())),
		"--timeout", "30s",
		"--script", file,
	}
	for name, value := range r.headers() {
		args = append(args, "--header", name+": "+value)
	}
	args = append(args, r.url, "--", r.method, r.body)

	before, err := b.redisFigure("total_commands_processed")
	if err != nil {
		return sample{}, err
	}

	s, err := runSample(b.command("wrk", args...))
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", r.url, err)
	}

	after, err := b.redisFigure("total_commands_processed")
	s.commands = after - before - 1 // without the first INFO

	return s, err
}

// runSample runs a program whose last line of output is a sample in JSON.
func runSample(cmd *exec.Cmd) (sample, error) {
	out, err := cmd.Output()
	if err != nil {
		return sample{}, fmt.Errorf("%w\n%s", err, out)
	}

	var s sample
	report := out[max(0, bytes.LastIndexByte(out, '{')):]
	if err := json.Unmarshal(report, &s); err != nil {
		return sample{}, fmt.Errorf("%w\n%s", err, out)
	}
	if s.Count == 0 || s.Errors > maxErrors*s.Count {
		return sample{}, fmt.Errorf("%.0f of %.0f requests failed", s.Errors, s.Count)
	}

	return s, nil
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// usage is processor time by process, in seconds. Beside the processes of the bench:
const (
	hashing   = "hashing" // the server's threads of low priority, which are not in its own
	everybody = "all"     // all that ran on the machine
	available = "time"    // what the processors could have done
)

type usage map[string]float64

func (u usage) since(before usage) usage {
	took := usage{}
	for name, seconds := range u {
		took[name] = seconds - before[name]
	}
	return took
}

// ticks is the unit of /proc on Linux, whatever its clock: a hundredth of a second.
const ticks = 100

// used is what was used until now.
func (b *bench) used() (usage, error) {
	u := usage{}
	for _, p := range b.processes {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			seconds, nice, err := threadTime(file)
			if err != nil {
				return nil, err
			}
			if nice > 0 && p == b.server.process {
				u[hashing] += seconds
			} else {
				u[p.name] += seconds
			}
		}
	}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(first)[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return nil, err
		}
		if u[available] += n / ticks; i != 3 && i != 4 {
			u[everybody] += n / ticks
		}
	}
	return u, nil
}

// threadTime reads the time and the nice value in a file of proc_pid_stat(5). A thread
// that is gone has used nothing.
func threadTime(file string) (seconds float64, nice int, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	// The name, in parentheses, may hold anything; what follows begins with field 3.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 17 {
		return 0, 0, fmt.Errorf("%s: %q", file, text)
	}
	for _, i := range []int{14, 15} {
		n, failed := strconv.ParseFloat(fields[i-3], 64)
		seconds, err = seconds+n/ticks, errors.Join(err, failed)
	}
	nice, failed := strconv.Atoi(fields[19-3])
	return seconds, nice, errors.Join(err, failed)
}

// resident is the memory of a process: now, or the most there was (VmRSS, VmHWM); in MiB.
func (p *process) resident(line string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), line+":")
	kib, err := strconv.ParseFloat(strings.Fields(rest + " none")[0], 64)
	return kib / 1024, err
}

// Command bench compares the production server with baselines that do the minimum of its work, and
// prints a table in Markdown:
//
//	make bench
//
// Absolute numbers mean little on another machine. So each one is compared with a baseline from the
// same run: an HTTP server that returns the same bytes, bcrypt alone, or the server without sessions
// in memory. Server and baseline take turns, and a ratio is the median over all rounds. Other work on
// the machine then affects the numbers more than the ratios.
//
// The servers, the HTTP baseline, Redis and the load generator (wrk) are separate processes. MongoDB
// runs in this one. Start reading at checks.go; env.go and server.go start the processes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	if slices.Equal(os.Args[1:], []string{baselineArgument}) {
		fmt.Fprintln(os.Stderr, "bench: baseline:", serveBaseline(os.Stdin))
		os.Exit(1)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()

	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the whole program, except for the baseline.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	b := &bench{ctx: ctx, progress: stderr}
	if err := b.parse(args); err != nil {
		return err
	}

	for _, program := range []string{"wrk", "redis-server"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not on the PATH; on Debian: apt-get install wrk redis-server", program)
		}
	}

	defer b.close()
	if err := b.prepare(); err != nil {
		return err
	}

	for i, measure := range []func() error{b.checks, b.logins, b.memory, b.logouts} {
		if b.only != "" && b.only != sections[i] {
			continue
		}

		b.progressf("measuring %s", sections[i])
		if err := measure(); err != nil {
			return fmt.Errorf("%s: %w", sections[i], err)
		}
	}

	return b.print(stdout)
}

// sections are the parts of the table. Each starts its own servers.
var sections = []string{"checks", "logins", "memory", "logouts"}

// parse reads the flags.
func (b *bench) parse(args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(b.progress)
	flags.StringVar(&b.only, "only", "", "measure only one of checks, logins, memory and logouts")
	flags.IntVar(&b.rounds, "rounds", 5, "`number` of rounds")
	flags.DurationVar(&b.duration, "duration", 3*time.Second, "length of one measurement, in whole seconds")
	// Redis doubles the size of its hash tables. With two keys per session they are 95% full.
	flags.IntVar(&b.sessions, "sessions", 125_000, "`number` of sessions to create for the memory section")
	flags.IntVar(&b.logoutCount, "logouts", 300, "`number` of logouts for each row of the logouts section")
	if err := flags.Parse(args); err != nil {
		return err
	}

	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see bench -h", flags.Arg(0))
	}
	if b.only != "" && !slices.Contains(sections, b.only) {
		return fmt.Errorf("-only: unknown section %q", b.only)
	}
	if b.rounds < 1 || b.duration < time.Second || b.sessions < 1 || b.logoutCount < 1 {
		return errors.New("-rounds, -sessions, -logouts and the seconds of -duration must be at least 1")
	}

	return nil
}

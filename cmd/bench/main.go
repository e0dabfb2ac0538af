// Command bench measures the production server against the least that its work could
// cost on the same machine at the same time, and prints tables in Markdown:
//
//	make bench
//
// The server, its stores and what it is compared with are processes of their own, and
// the load comes from wrk. What is compared takes turns, and a ratio is the median of
// those of the rounds, so that a machine with other work to do changes the figures more
// than the ratios.
//
// Start reading at sections; stage.go has who takes part, floor.go what the server is
// compared with.
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
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// maxDuration ends a run in which something hangs.
const maxDuration = 20 * time.Minute

func main() {
	// The children end with the thread that started them, see attributes.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the whole program. It starts itself again for the parts that must not share a
// process with it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		if child, ok := children[args[0]]; ok {
			return child(ctx, args[1:], stdout)
		}
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	short := flags.Bool("short", false, "measure each for a moment only: the tables are whole, their figures mean nothing")
	only := flags.String("only", "", "which sections, separated by commas, of "+strings.Join(names(), ", "))
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: bench takes no arguments; see bench -h", flags.Arg(0))
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if runtime.GOOS != "linux" {
		return errors.New("needs Linux: it reads /proc")
	}
	for _, program := range []string{"wrk", "redis-server", "make", "nice"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not on the PATH; on Debian: apt-get install wrk redis-server make", program)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, maxDuration)
	defer cancel()
	extent := long
	if *short {
		extent = brief
	}
	b, err := newBench(ctx, extent, stderr)
	if err != nil {
		return err
	}
	defer b.close()
	var failures error
	for _, s := range chosen {
		if err := s.measure(b); err != nil {
			failures = errors.Join(failures, fmt.Errorf("%s: %w", s.name, err))
		}
		if ctx.Err() != nil {
			return failures
		}
	}
	return errors.Join(b.print(stdout), failures)
}

// children are the parts that run in processes of their own: see floor.go.
var children = map[string]func(ctx context.Context, args []string, stdout io.Writer) error{
	"mongo": serveMongo, "floor": serveFloor, "bcrypt": hashAlone,
}

type section struct {
	name    string
	measure func(*bench) error
}

// sections are what is measured, in this order: the last one fills Redis.
var sections = []section{
	{"checks", (*bench).checks},
	{"commands", (*bench).commands},
	{"logins", (*bench).logins},
	{"flood", (*bench).flood},
	{"memory", (*bench).memory},
	{"growth", (*bench).growth},
}

func names() (all []string) {
	for _, s := range sections {
		all = append(all, s.name)
	}
	return all
}

func choose(only string) (chosen []section, err error) {
	if only == "" {
		return sections, nil
	}
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(sections, func(s section) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no section %q", name)
		}
		chosen = append(chosen, sections[i])
	}
	return chosen, nil
}

// extent is how much is measured.
type extent struct {
	rounds, fewer int           // fewer where a round takes long
	warm          time.Duration // before the first round; 0 is not at all
	check         time.Duration // of checking sessions
	login, alone  time.Duration // of logging in, of bcrypt alone
	calls         int           // of which the Redis commands are counted
	sessions      int           // that begin, of as many users and of half as many
	copies        int           // of each of them
}

var (
	long = extent{
		rounds: 5, fewer: 3, warm: time.Second, check: 4 * time.Second,
		login: 6 * time.Second, alone: 4 * time.Second, calls: 2000,
		// Tables of Redis double: they are as full of a sixteenth of a million.
		sessions: 62_500, copies: 15,
	}
	brief = extent{
		rounds: 1, fewer: 1, check: time.Second,
		login: 2 * time.Second, alone: time.Second, calls: 100,
		sessions: 4000, copies: 3,
	}
)

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// process is a program that runs until the end.
type process struct {
	name string
	cmd  *exec.Cmd
	gone chan struct{}
}

// command is a program to run. It ends with the bench, and what it complains of is
// progress.
func (b *bench) command(program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.ctx, program, args...) //nolint:gosec // all are of this package's choice
	cmd.SysProcAttr = attributes()
	return cmd
}

// start starts what runs until the end.
func (b *bench) start(name string, cmd *exec.Cmd) (*process, error) {
	cmd.Stderr = b.progress
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name, cmd, make(chan struct{})}
	go func() {
		defer close(p.gone)
		_ = cmd.Wait()
	}()
	b.processes = append(b.processes, p)
	return p, nil
}

// startSelf starts this program as one of children and returns the line that it says
// once it can be used.
func (b *bench) startSelf(name string, args ...string) (line string, err error) {
	cmd, err := b.self(args...)
	if err != nil {
		return "", err
	}
	from, to, err := os.Pipe()
	if err != nil {
		return "", err
	}
	cmd.Stdout = to
	_, err = b.start(name, cmd)
	_ = to.Close()
	if err == nil {
		line, err = bufio.NewReader(from).ReadString('\n')
	}
	if err != nil {
		_ = from.Close()
		return "", fmt.Errorf("start %s: %w", name, err)
	}
	return strings.TrimSpace(line), nil
}

func (b *bench) self(args ...string) (*exec.Cmd, error) {
	file, err := os.Executable()
	return b.command(file, args...), err
}

// await returns once the process answers.
func (p *process) await(ctx context.Context, answers func() error) error {
	limit := time.After(startTimeout)
	for {
		err := answers()
		if err == nil {
			return nil
		}
		select {
		case <-p.gone:
			return fmt.Errorf("start %s: %w", p.name, errEnded)
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			return fmt.Errorf("start %s: %w", p.name, err)
		case <-time.After(startLook):
		}
	}
}

// kill ends the process at once. There is nothing that it could lose.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}

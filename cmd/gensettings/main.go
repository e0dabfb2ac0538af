// Command gensettings writes the settings reference and .env.example.
// Run it with "go generate ./internal/config".
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"latchkey/internal/config"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gensettings:", err)
		os.Exit(1)
	}
}

// run takes the paths of the reference and of the example.
func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: gensettings REFERENCE EXAMPLE")
	}

	if err := write(args[0], config.WriteReference); err != nil {
		return err
	}

	return write(args[1], config.WriteExample)
}

func write(path string, render func(io.Writer) error) error {
	var b bytes.Buffer
	if err := render(&b); err != nil {
		return err
	}

	return os.WriteFile(path, b.Bytes(), 0o644) //nolint:gosec // documentation that anyone may read
}

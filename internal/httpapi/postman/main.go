package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: postman FILE")
		os.Exit(2)
	}

	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "postman:", err)
		os.Exit(1)
	}
}

// write writes the collection to a file.
func write(path string) error {
	text, err := encode(collection())
	if err != nil {
		return err
	}

	return os.WriteFile(path, text, 0o644) //nolint:gosec // it is public
}

// Command check tells whether manifests of Kubernetes are what their author meant: whether
// each is an object of the API as it is written, and whether they fit together. It asks no
// cluster. It belongs to deployments/check.
//
//	kustomize build ... | check [-files DIR]
//
// With -files it prints the environment of the server, a variable a line, as it would be in a
// pod, and writes the files that the Secret would be into DIR.
//
// Start reading at main, then object in strict.go, then fits in fits.go.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	files := flag.String("files", "", "print the environment, and write the Secret into this folder")
	flag.Parse()
	m, err := read(os.Stdin)
	if err == nil {
		err = m.fits()
	}
	if err == nil && *files != "" {
		err = m.environment(os.Stdout, *files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// faults collects what is wrong, so that all of it is told at once.
type faults struct{ all []error }

func (f *faults) add(format string, args ...any) { f.all = append(f.all, fmt.Errorf(format, args...)) }

func (f *faults) err() error { return errors.Join(f.all...) }

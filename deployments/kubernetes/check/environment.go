package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// environment prints the variables of the server, and writes the files of its Secrets into
// dir, so that the server itself can be asked what it thinks of them.
func (m *manifests) environment(to io.Writer, dir string) error {
	pod := m.deployments[0].Spec.Template.Spec
	env, err := m.variables(pod.Containers[0], pod, dir)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if _, err := fmt.Fprintf(to, "%s=%s\n", name, env[name]); err != nil {
			return err
		}
	}
	for _, s := range m.secrets {
		for key, value := range s.StringData {
			if err := os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

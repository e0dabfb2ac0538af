//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package devstore

import (
	"errors"
	"os"
	"syscall"
)

// lockFile creates a file and locks it until unlock is called or the process ends. It returns false if
// another process has locked it.
func lockFile(path string) (unlock func(), locked bool, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}

	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, false, nil
		}

		return nil, false, err
	}

	return func() { _ = file.Close() }, true, nil
}

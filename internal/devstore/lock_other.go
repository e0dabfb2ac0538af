//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package devstore

// lockFile does nothing on systems without flock: there, do not start two servers in one directory.
func lockFile(string) (unlock func(), locked bool, err error) {
	return func() {}, true, nil
}

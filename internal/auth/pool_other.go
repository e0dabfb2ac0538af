//go:build !linux

package auth

// threadPriority is false: a priority of its own for a thread is Linux's.
const threadPriority = false

func lowerPriority() {}

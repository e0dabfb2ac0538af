//go:build !linux

package hashpool

func lowerPriority() {}

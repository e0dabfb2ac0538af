package main

import "syscall"

// attributes have a child end when this process does, however it ends.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// Package lifeline starts programs for tests, servers mostly, that end with the test
// program, even if that is killed. No other code needs it.
package lifeline

import (
	"os/exec"
	"syscall"
)

// Start is cmd.Start. On Linux the program gets the signal when this process ends,
// however it ends. Its own children get none: the signal has to be one on which it
// ends them.
func Start(cmd *exec.Cmd, signal syscall.Signal) error { return start(cmd, signal) }

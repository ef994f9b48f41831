package lifeline

import (
	"os/exec"
	"runtime"
	"syscall"
)

// starts are carried out on a thread that lasts as long as the process: the kernel sends
// the signal when the thread ends that has started the program.
var starts = make(chan func())

func init() {
	go func() {
		runtime.LockOSThread()
		for start := range starts {
			start()
		}
	}()
}

func start(cmd *exec.Cmd, signal syscall.Signal) error {
	attributes := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attributes = *cmd.SysProcAttr
	}
	attributes.Pdeathsig = signal
	cmd.SysProcAttr = &attributes
	result := make(chan error)
	starts <- func() { result <- cmd.Start() }
	return <-result
}

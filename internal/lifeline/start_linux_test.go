package lifeline

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// parentVariable makes this test program start another one, tell its process id, and
// wait.
const parentVariable = "LIFELINE_TEST_PARENT"

// The first thread of a process never ends: no test's goroutine is to have it.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if os.Getenv(parentVariable) == "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("sleep", "600")
	cmd.Stdout = os.Stdout
	if err := Start(cmd, syscall.SIGKILL); err != nil {
		panic(err)
	}
	fmt.Println(cmd.Process.Pid)
	time.Sleep(10 * time.Minute)
}

func TestEndsWithAKilledProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self)
	parent.Env = append(os.Environ(), parentVariable+"=1")
	parent.Stdout = theirs
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	defer parent.Process.Kill()
	in, pid := bufio.NewReader(out), 0
	if _, err := fmt.Fscanln(in, &pid); err != nil {
		t.Fatal(err)
	}
	parent.Process.Kill()
	parent.Wait()
	out.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadAll(in); err != nil { // until nobody has the other end
		t.Errorf("the program of a process that was killed lives on: %v", err)
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestLivesOnAfterTheThread(t *testing.T) {
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	thread := make(chan int)
	go func() {
		runtime.LockOSThread() // so it ends with this goroutine
		if err := Start(cmd, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		thread <- syscall.Gettid()
	}()
	gone := fmt.Sprint("/proc/self/task/", <-thread)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(gone); os.IsNotExist(err) {
			break
		} else if time.Now().After(end) {
			t.Fatal("the thread does not end")
		}
	}
	line := ""
	fmt.Fprintln(stdin, "hello")
	if fmt.Fscanln(stdout, &line); line != "hello" {
		t.Errorf("cat says %q", line)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

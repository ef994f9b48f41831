package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpuTime returns the CPU time, user and system, that a process and all its
// descendants have used. Linux counts it in hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	family, err := tree(pid)
	var ticks int64
	for _, s := range family {
		ticks += s.own + s.reaped
	}
	return time.Duration(ticks) * (time.Second / 100), err
}

// memory returns the bytes of memory that a process and all its descendants
// have; what they share counts once, or in parts.
func memory(pid int) (int64, error) { return smaps(pid, "Pss") }

// smaps returns the sum of a field of smaps_rollup, in bytes, of a process and
// all its descendants; see proc_pid_smaps(5).
func smaps(pid int, field string) (int64, error) {
	family, err := tree(pid)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, s := range family {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.pid))
		if err != nil {
			return 0, err
		}
		_, after, _ := strings.Cut(string(text), "\n"+field+":")
		var kib int64
		if _, err := fmt.Sscan(after, &kib); err != nil {
			return 0, err
		}
		sum += kib << 10
	}
	return sum, nil
}

// tree returns a process and all its descendants.
func tree(pid int) ([]stat, error) {
	stats := map[int]stat{}
	children := map[int][]int{}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		// Processes end while they are listed.
		if s, err := readStat(file); err == nil {
			stats[s.pid] = s
			children[s.parent] = append(children[s.parent], s.pid)
		}
	}
	if _, alive := stats[pid]; !alive {
		return nil, fmt.Errorf("process %d has ended", pid)
	}
	var family []stat
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		family = append(family, stats[todo[0]])
		todo = append(todo, children[todo[0]]...)
	}
	return family, nil
}

// stat is what is needed of /proc/PID/stat.
type stat struct {
	pid, parent int
	own         int64 // ticks of the process
	reaped      int64 // ticks of children that have ended
}

// readStat reads one; see proc_pid_stat(5) for the fields.
func readStat(file string) (stat, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return stat{}, err
	}
	// The second field is a name in parentheses, which may have any bytes.
	before, _, _ := strings.Cut(string(text), " (")
	fields := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')')+1:])
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("%s has only %d fields", file, len(fields))
	}
	var s stat
	if s.pid, err = strconv.Atoi(before); err != nil {
		return stat{}, err
	}
	if s.parent, err = strconv.Atoi(fields[1]); err != nil {
		return stat{}, err
	}
	for i, to := range []*int64{&s.own, &s.own, &s.reaped, &s.reaped} {
		ticks, err := strconv.ParseInt(fields[11+i], 10, 64)
		if err != nil {
			return stat{}, err
		}
		*to += ticks
	}
	return s, nil
}

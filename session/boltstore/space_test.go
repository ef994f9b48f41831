//go:build unix

package boltstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
)

// fullDisk is the variable that makes the test the child in which no file may
// grow: a limit of the process, since not everybody can mount a small disk.
const fullDisk = "BOLTSTORE_TEST_FULL_DISK"

// Whatever the sessions are like that have filled the disk, each can be ended,
// one by one or many at once, and then there is room for others.
func TestFullDisk(t *testing.T) {
	for name, layout := range fullDiskLayouts {
		t.Run(name, func(t *testing.T) {
			if os.Getenv(fullDisk) != "" {
				endOnAFullDisk(t, layout)
				return
			}
			t.Parallel()
			inChild(t)
		})
	}
}

// inChild runs the test in a process of its own, on a disk in memory if there is
// one: there are thousands of commits.
func inChild(t *testing.T) {
	name := "^" + strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^") + "$"
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", name, "-test.v", "-test.timeout", "5m")
	child.Env = append(os.Environ(), fullDisk+"=1")
	if dir, err := os.MkdirTemp("/dev/shm", "boltstore"); err == nil {
		defer os.RemoveAll(dir)
		child.Env = append(child.Env, "TMPDIR="+dir)
	}
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", regexp.MustCompile(`\d+ sessions in .*`).Find(out))
}

// fullDiskLayouts are the sizes of the sessions, in turns, and whether they are
// users'.
var fullDiskLayouts = map[string]fullDiskLayout{
	"tiny":                {[]int{20}, false},
	"tiny users":          {[]int{20}, true},
	"small":               {[]int{600}, false},
	"small users":         {[]int{600}, true},
	"a page":              {[]int{4000}, true},
	"several pages":       {[]int{20_000}, true},
	"large":               {[]int{64 << 10}, false},
	"large users":         {[]int{64 << 10}, true},
	"huge":                {[]int{1 << 20}, true},
	"all kinds":           {[]int{20, 64 << 10, 600, 9000, 20, 4000}, false},
	"all kinds of users":  {[]int{20, 64 << 10, 600, 9000, 20, 4000}, true},
	"small beside larger": {[]int{100, 100, 100, 3900}, true},
}

type fullDiskLayout struct {
	sizes []int
	users bool
}

func endOnAFullDisk(t *testing.T, layout fullDiskLayout) {
	signal.Ignore(syscall.SIGXFSZ)
	path := tempFile(t)
	s := New(Options{Path: path})
	defer s.Close()
	var mu sync.Mutex
	var ids []string
	create := func(size int) error {
		e := session.Entry{Version: 1, TTL: time.Hour, Value: append(session.AppendHead(nil, 1), strings.Repeat("x", size)...)}
		if layout.users {
			e.IndexKey, e.Deadline = fmt.Sprint("user ", rand.N(50)), time.Now().Add(time.Hour)
		}
		id := fmt.Sprintf("%022x", rand.Uint64())
		err := s.Put(t.Context(), id, 0, e)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, id)
		}
		return err
	}
	for i := range 2 * len(layout.sizes) {
		ok(t, create(layout.sizes[i%len(layout.sizes)]))
	}
	info, err := os.Stat(path)
	ok(t, err)
	// A little more, which is no multiple of anything.
	most := syscall.Rlimit{Cur: uint64(info.Size()) + 300_001, Max: uint64(info.Size()) + 300_001}
	ok(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &most))

	// Until not even the smallest goes in any more.
	fill := func(size func(i int) int) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i, refused := 0, 0; refused < 4; i++ {
					err := create(size(i))
					if err == nil {
						continue
					}
					if refused++; !errors.Is(err, session.ErrNotDone) || !errors.Is(err, syscall.EFBIG) && !errors.Is(err, syscall.ENOSPC) {
						t.Errorf("on a full disk: %v", err)
					}
				}
			})
		}
		wg.Wait()
	}
	fill(func(i int) int { return layout.sizes[i%len(layout.sizes)] })
	fill(func(int) int { return 1 })
	t.Logf("%d sessions in %d bytes", len(ids), info.Size())
	ok(t, s.Touch(t.Context(), ids[0], 1, 2*time.Hour)) // one that can't be written

	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	one, many := ids[:len(ids)/2], ids[len(ids)/2:]
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < len(one); i += 4 {
				if err := s.Delete(t.Context(), one[i], 1); err != nil {
					t.Errorf("ending session %d of %d: %v", i, len(one), err)
					return
				}
				absent(t, s, one[i])
			}
		})
	}
	wg.Wait()
	if err := s.DeleteMany(t.Context(), "user 1", many); err != nil {
		t.Fatalf("ending %d sessions: %v", len(many), err)
	}
	for _, id := range many {
		absent(t, s, id)
	}
	if n := s.Len(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	for range 2 * len(layout.sizes) { // sign-ins work again
		ok(t, create(min(layout.sizes[0], 20_000))) // free pages need not be in a row
	}
}

// The disk is full of sessions that nobody ends: DeleteMany ends all of them in
// the first call after that.
func TestFullDiskEndsAllAtOnce(t *testing.T) {
	if os.Getenv(fullDisk) == "" {
		inChild(t)
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	path := tempFile(t)
	s := New(Options{Path: path})
	defer s.Close()
	most := syscall.Rlimit{Cur: 40 << 20, Max: 40 << 20}
	ok(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &most))
	var mu sync.Mutex
	var ids []string
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for {
				id := fmt.Sprintf("%022x", rand.Uint64())
				if err := s.Put(t.Context(), id, 0, entry(1, time.Hour)); err != nil {
					return
				}
				mu.Lock()
				ids = append(ids, id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	ok(t, s.DeleteMany(t.Context(), "", slices.Clone(ids)))
	if n := s.Len(); n != 0 {
		t.Errorf("%d of %d sessions are left", n, len(ids))
	}
}

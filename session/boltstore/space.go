package boltstore

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-session/caddy-session/session"
)

// bbolt never changes a page in place, so even a deletion needs pages: free
// ones, or new ones at the end of the file. On a disk that is full there may be
// neither. Therefore the file always has space on the disk beyond its pages in
// use, the reserve, which nothing may use but what makes room: deletions.
//
// The space is written with zeros ahead of time, since a file that is merely
// made longer has no space on the disk for its new part.
const (
	// leastReserve and reservePart are how large the reserve is: so many bytes,
	// and one in so many of the pages in use, as the list of free pages grows
	// with them.
	leastReserve = 4 << 20
	reservePart  = 128

	// growStep is how much further at least the file reaches when it has to.
	growStep = 1 << 20

	// mostGrowth is how far a single transaction may reach.
	mostGrowth = 1 << 30
)

// space is the space on the disk that the file has.
type space struct {
	raw *os.File
	end int64 // up to where there is space
}

func reserve(used int64) int64 { return leastReserve + used/reservePart }

// used returns up to where pages are in use, or were and are free again.
func (f *file) used() (used int64) {
	_ = f.view(func(tx *bolt.Tx) error {
		used = tx.Size()
		return nil
	})
	return used
}

// provide makes the file reach so far beyond the pages in use, and then the
// reserve. If it fails, all that was there before is still there.
func (f *file) provide(ahead int64) error {
	used := f.used()
	const whole = 64 << 10 // pages, of whatever size
	want := (used + ahead + reserve(used) + whole - 1) / whole * whole
	if f.space.end == 0 { // nobody knows whether there is space for the end of the file
		f.space.end = used
	}
	zeros := make([]byte, min(growStep, max(want-f.space.end, 0)))
	for f.space.end < want {
		n, err := f.space.raw.WriteAt(zeros[:min(int64(len(zeros)), want-f.space.end)], f.space.end)
		f.space.end += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// limit bounds where the next transaction may put pages. It is for the writer
// alone, as the field is read by write transactions only.
func (f *file) limit(reserved bool) {
	if runtime.GOOS == "windows" {
		return // the file has the size of its mapping there
	}
	end := f.space.end
	if reserved {
		end -= reserve(f.used())
	}
	// bbolt adds this to what it needs, and compares the sum.
	f.db.AllocSize = f.db.Info().PageSize
	f.db.MaxSize = int(max(end, 1))
}

// roomy runs a transaction, and gives the file more space if it needs that. Then
// the reserve is as it was.
func (f *file) roomy(run func() error) error {
	short := f.provide(growStep)
	for step := int64(2 * growStep); ; step *= 2 {
		f.limit(true)
		err := run()
		if !errors.Is(err, bolterrors.ErrMaxSizeReached) {
			return err
		}
		if short == nil && step <= mostGrowth {
			short = f.provide(step)
		}
		if short != nil {
			return session.NotDone(fmt.Errorf("the file can't be made longer: %w", short))
		}
	}
}

// tight runs a transaction that makes room, which may use the reserve.
func (f *file) tight(run func() error) error {
	f.limit(false)
	err := run()
	if errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return session.NotDone(fmt.Errorf("the file can't be made longer, and the reserve is not enough: %w", err))
	}
	return err
}

package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-session/caddy-session/session"
)

// written returns a file as the store leaves it, with a few hundred sessions.
func written(t *testing.T) string {
	t.Helper()
	path := tempFile(t)
	s := New(Options{Path: path})
	store(t, s, "id", 0, 1, time.Hour)
	f := s.cur.Load()
	ok(t, f.do(t.Context(), false, func(tx *txn) error {
		for i := range 300 {
			e := entry(1, time.Hour)
			expiry := toMilli(time.Now().Add(e.TTL))
			p := operation(fmt.Sprint("session ", i), expiry, e.Value)
			if err := tx.put(&p); err != nil {
				return err
			}
		}
		return nil
	}))
	ok(t, s.Close())
	return path
}

func TestDamagedFile(t *testing.T) {
	page := int64(os.Getpagesize())
	tests := []struct {
		name   string
		damage func(t *testing.T, f *os.File, size int64)
	}{
		{"garbage", func(t *testing.T, f *os.File, size int64) {
			writeAt(t, f, bytes.Repeat([]byte("garbage\n"), int(size/8)), 0)
		}},
		{"a few bytes", func(t *testing.T, f *os.File, _ int64) {
			ok(t, f.Truncate(0))
			writeAt(t, f, []byte("sid"), 0)
		}},
		{"zeros", func(t *testing.T, f *os.File, size int64) { writeAt(t, f, make([]byte, size), 0) }},
		{"bad meta pages", func(t *testing.T, f *os.File, _ int64) {
			writeAt(t, f, []byte("damage"), 40)
			writeAt(t, f, []byte("damage"), page+40)
		}},
		{"one page", func(t *testing.T, f *os.File, _ int64) { ok(t, f.Truncate(page)) }},
		{"one page and a half", func(t *testing.T, f *os.File, _ int64) { ok(t, f.Truncate(page*3/2)) }},
		{"meta pages only", func(t *testing.T, f *os.File, _ int64) { ok(t, f.Truncate(2*page)) }},
		{"some pages", func(t *testing.T, f *os.File, _ int64) { ok(t, f.Truncate(10*page)) }},
		{"the last page", func(t *testing.T, f *os.File, _ int64) {
			var size int64
			change(t, f.Name(), func(tx *bolt.Tx) error { size = tx.Size(); return nil })
			ok(t, f.Truncate(size-page))
		}},
		{"zero pages", func(t *testing.T, f *os.File, size int64) {
			writeAt(t, f, make([]byte, size-2*page), 2*page)
		}},
		{"garbage pages", func(t *testing.T, f *os.File, size int64) {
			writeAt(t, f, bytes.Repeat([]byte{0xff}, int(size-2*page)), 2*page)
		}},
		{"no expiry", func(t *testing.T, f *os.File, _ int64) {
			change(t, f.Name(), func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketExpiry) })
		}},
		{"no meta", func(t *testing.T, f *os.File, _ int64) {
			change(t, f.Name(), func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketMeta) })
		}},
		{"no format", func(t *testing.T, f *os.File, _ int64) {
			change(t, f.Name(), func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyFormat) })
		}},
		{"odd format", func(t *testing.T, f *os.File, _ int64) {
			change(t, f.Name(), func(tx *bolt.Tx) error {
				return tx.Bucket(bucketMeta).Put(keyFormat, []byte("one"))
			})
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := written(t)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			ok(t, err)
			info, err := f.Stat()
			ok(t, err)
			test.damage(t, f, info.Size())
			ok(t, f.Close())
			damaged, err := os.ReadFile(path)
			ok(t, err)

			core, logs := observer.New(zap.ErrorLevel)
			s := New(Options{Path: path, Logger: zap.New(core)})
			defer s.Close()
			ok(t, s.Open(t.Context()))
			absent(t, s, "id")
			store(t, s, "id", 0, 1, time.Hour)
			holds(t, s, "id", 1, time.Hour)
			if s.Len() != 1 {
				t.Errorf("Len is %d, want 1", s.Len())
			}
			aside := setAsideAs(t, path, 1)[0]
			kept, err := os.ReadFile(aside)
			ok(t, err)
			if !bytes.Equal(kept, damaged) {
				t.Error("the damaged file was changed")
			}
			if lines := logs.All(); len(lines) != 1 || lines[0].ContextMap()["file"] != path ||
				lines[0].ContextMap()["renamed_to"] != aside {
				t.Errorf("got log %v, want one line with both names", lines)
			}
		})
	}
}

// A path that was mistyped costs nobody their data.
func TestDatabaseOfAnother(t *testing.T) {
	path := tempFile(t)
	db, err := bolt.Open(path, 0o600, nil)
	ok(t, err)
	ok(t, db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("theirs"))
		return err
	}))
	ok(t, db.Close())
	before, err := os.ReadFile(path)
	ok(t, err)

	s := New(Options{Path: path})
	defer s.Close()
	if err := s.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("got %v, want an error", err)
	}
	after, err := os.ReadFile(path)
	ok(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

// A second damaged file of the same second does not replace the first.
func TestSetAsideNeverOverwrites(t *testing.T) {
	path := tempFile(t)
	for range 3 {
		ok(t, os.WriteFile(path, []byte("damaged"), 0o600))
		s := New(Options{Path: path})
		ok(t, s.Open(t.Context()))
		ok(t, s.Close())
	}
	setAsideAs(t, path, 3)
}

// Damage that shows only when a page is read: the call fails, and then the file
// is examined and replaced. The site works again.
func TestDamagedPage(t *testing.T) {
	path := written(t)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	// A page of the bucket sessions is one that has a record in it.
	data, err := os.ReadFile(path)
	ok(t, err)
	page := os.Getpagesize()
	damaged := 0
	for at := 2 * page; at < len(data); at += page {
		if bytes.Contains(data[at:at+page], []byte("cs1 0000")) {
			writeAt(t, f, make([]byte, page), int64(at))
			damaged++
		}
	}
	if damaged < 5 {
		t.Fatalf("%d pages with records were found, want more", damaged)
	}

	s := New(Options{Path: path})
	defer s.Close()
	ok(t, s.Open(t.Context()))
	fails(t, s)
	absent(t, s, "id")
	store(t, s, "id", 0, 1, time.Hour)
	holds(t, s, "id", 1, time.Hour)
	setAsideAs(t, path, 1)
}

// A file that is cut off while it is open makes reading fault. That is an
// error, not the end of the process.
func TestTruncatedWhileOpen(t *testing.T) {
	path := written(t)
	s := New(Options{Path: path})
	defer s.Close()
	ok(t, s.Open(t.Context()))
	ok(t, os.Truncate(path, int64(2*os.Getpagesize())))
	fails(t, s)
	store(t, s, "id", 0, 1, time.Hour)
	holds(t, s, "id", 1, time.Hour)
	setAsideAs(t, path, 1)
}

// The list of free pages is damaged, too, so that bbolt can't even give up the
// transaction in which it finds the damage, and never lets go of its locks.
func TestDamagedWhileOpenUnderWriter(t *testing.T) {
	path := written(t)
	s := New(Options{Path: path})
	defer s.Close()
	ok(t, s.Open(t.Context()))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	info, err := f.Stat()
	ok(t, err)
	page := int64(os.Getpagesize())
	writeAt(t, f, make([]byte, info.Size()-2*page), 2*page)

	err = s.Put(t.Context(), "id", 1, entry(2, time.Hour))
	if err == nil || err == session.ErrNotFound || err == session.ErrConflict {
		t.Fatalf("got error %v, want one about the damage", err)
	}
	ok(t, s.Open(t.Context())) // without waiting for the next attempt
	store(t, s, "id", 0, 1, time.Hour)
	holds(t, s, "id", 1, time.Hour)
	setAsideAs(t, path, 1)
}

// A panic alone is no proof of damage: the file is examined, and kept.
func TestPanicInWriter(t *testing.T) {
	path := written(t)
	s := New(Options{Path: path})
	defer s.Close()
	err := s.do(t.Context(), func(*txn) error { panic("for the test") })
	if err == nil || !strings.Contains(err.Error(), "for the test") {
		t.Fatalf("got error %v, want the panic", err)
	}
	fails(t, s)
	holds(t, s, "id", 1, time.Hour)
	store(t, s, "id", 1, 2, time.Hour)
	if s.Len() != 301 {
		t.Errorf("Len is %d, want 301", s.Len())
	}
	setAsideAs(t, path, 0)
}

func TestNewerFormatIsRefused(t *testing.T) {
	path := written(t)
	change(t, path, func(tx *bolt.Tx) error {
		return tx.Bucket(bucketMeta).Put(keyFormat, appendNumber(nil, format+1))
	})
	before, err := os.ReadFile(path)
	ok(t, err)
	s := New(Options{Path: path})
	defer s.Close()
	if err := s.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("got error %v, want one about a newer format", err)
	}
	setAsideAs(t, path, 0)
	after, err := os.ReadFile(path)
	ok(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

func TestNoFileIsNotDamage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	ok(t, os.WriteFile(file, nil, 0o600))
	for _, path := range []string{dir, filepath.Join(file, "sessions.db")} {
		s := New(Options{Path: path})
		defer s.Close()
		if err := s.Open(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("got error %v, want one that names %s", err, path)
		}
		setAsideAs(t, path, 0)
	}

	// An empty file, and one where only bbolt was faster than a crash, are new.
	s := New(Options{Path: file})
	store(t, s, "id", 0, 1, time.Hour)
	ok(t, s.Close())
	fresh := tempFile(t)
	change(t, fresh, func(*bolt.Tx) error { return nil })
	s = New(Options{Path: fresh})
	store(t, s, "id", 0, 1, time.Hour)
	ok(t, s.Close())
	setAsideAs(t, file, 0)
	setAsideAs(t, fresh, 0)
}

// What the system says of a file is not damage. Permissions would not stop
// root, so this is a link that leads to itself.
func TestErrorOfTheSystemIsNotDamage(t *testing.T) {
	path := tempFile(t)
	ok(t, os.Symlink(path, path))
	s := New(Options{Path: path})
	defer s.Close()
	if err := s.Open(t.Context()); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("got error %v, want ELOOP", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	setAsideAs(t, path, 0)
}

// fails asserts that the file has failed and that nothing hides that until the
// next attempt to open it, which it makes.
func fails(t *testing.T, s *Store) {
	t.Helper()
	for range 2 {
		_, err := s.Get(t.Context(), "id")
		if err == nil || err == session.ErrNotFound {
			t.Fatalf("got error %v, want one about the damage", err)
		}
	}
	ok(t, s.Open(t.Context()))
}

// setAsideAs asserts how many files were set aside, and returns their names.
func setAsideAs(t *testing.T, path string, n int) []string {
	t.Helper()
	names, err := filepath.Glob(path + ".damaged-*")
	ok(t, err)
	if len(names) != n {
		t.Fatalf("%d files were set aside (%q), want %d", len(names), names, n)
	}
	return names
}

func operation(id string, expiry int64, value []byte) put {
	return put{id: []byte(id), expiry: expiry, stored: appendStored(expiry, value)}
}

func change(t *testing.T, path string, fn func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	ok(t, err)
	ok(t, db.Update(fn))
	ok(t, db.Close())
}

func writeAt(t *testing.T, f *os.File, data []byte, at int64) {
	t.Helper()
	_, err := f.WriteAt(data, at)
	ok(t, err)
}

package boltstore

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"
)

// lockTimeout is how long to wait for another process to let go of the file: a
// predecessor that is just ending, but not longer.
const lockTimeout = time.Second

// openFile opens the file and starts its writer. A damaged file is set aside
// first. suspect asks to read all of it; stuck says that it is damaged for sure.
func openFile(opts Options, log *zap.Logger, suspect, stuck bool) (*file, error) {
	if err := os.MkdirAll(filepath.Dir(opts.Path), 0o700); err != nil {
		return nil, fmt.Errorf("opening %s: %w", opts.Path, err)
	}
	var db *bolt.DB
	var raw *os.File
	var count int64
	var err error
	if stuck {
		err = &damage{reason: errStuck}
	} else {
		db, raw, count, err = openDB(opts.Path, suspect)
	}
	if d, ok := errors.AsType[*damage](err); ok {
		if err := setAside(opts.Path, d, log); err != nil {
			return nil, fmt.Errorf("opening %s: %w", opts.Path, err)
		}
		db, raw, count, err = openDB(opts.Path, false)
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("opening %s: another process has it open; "+
			"to share sessions between processes, use `store redis`", opts.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", opts.Path, err)
	}
	log.Info("sessions are stored on this machine only",
		zap.String("file", opts.Path), zap.Int64("sessions", count))
	warnIfOthersMay(opts.Path, log)
	return newFile(db, raw, opts, log, count), nil
}

// warnIfOthersMay warns about a file that was there before, and that other users
// of this machine may read or write.
func warnIfOthersMay(path string, log *zap.Logger) {
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		log.Warn("other users of this machine have access to the file with the sessions: chmod 600",
			zap.String("file", path), zap.Stringer("mode", info.Mode().Perm()))
	}
}

// openDB looks at the file without changing it, and then opens it.
func openDB(path string, suspect bool) (db *bolt.DB, raw *os.File, count int64, err error) {
	if err := examine(path, suspect); err != nil {
		return nil, nil, 0, err
	}
	db, raw, err = openBolt(path, false)
	if err != nil {
		return nil, nil, 0, err
	}
	err = guard(func() error {
		count, err = prepare(db)
		return err
	})
	if err != nil {
		return nil, nil, 0, errors.Join(err, guard(db.Close))
	}
	// The file is synced, but its name is not yet, if it is new. Not every
	// system can sync a directory, so this may fail.
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return db, raw, count, nil
}

// openBolt opens a file as bbolt does, but panics are errors. It returns the
// file that bbolt has opened, too.
func openBolt(path string, readOnly bool) (db *bolt.DB, opened *os.File, err error) {
	err = guard(func() error {
		db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:      lockTimeout,
			ReadOnly:     readOnly,
			FreelistType: bolt.FreelistMapType,
			NoStatistics: true,
			OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, perm)
				opened = f
				return f, err
			},
		})
		return err
	})
	var d *damage
	switch {
	case errors.As(err, &d):
		// A panic: bbolt has left the file open. What it has mapped is lost.
		d.file, _ = opened.Stat()
		_ = opened.Close()
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch):
		err = &damage{reason: err}
	}
	return db, opened, err
}

// examine returns a damage error if the file is there, but can't be used, and
// other errors if it must not be used. It opens it for reading only, so that
// even a newer format comes to no harm. all asks to read every page.
func examine(path string, all bool) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("this is not a regular file")
	case info.Size() == 0:
		return nil // bbolt makes a database of it
	}
	db, _, err := openBolt(path, true)
	if err == nil {
		err = guard(func() error {
			return db.View(func(tx *bolt.Tx) error { return check(tx, path, all) })
		})
		err = errors.Join(err, guard(db.Close))
	} else if bySystem(err) || errors.Is(err, bolterrors.ErrTimeout) {
		return err
	} else if info.Size() < 4*int64(os.Getpagesize()) {
		// Less than an empty database: bbolt has several errors for it.
		err = &damage{reason: err}
	}
	if d, ok := errors.AsType[*damage](err); ok && d.file == nil {
		d.file = info
	}
	return err
}

// check looks whether a database is one of ours.
func check(tx *bolt.Tx, path string, all bool) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	// Size is up to where pages are in use. To read the memory of a page that
	// the file does not have would kill the process.
	if size := tx.Size(); info.Size() < size {
		return &damage{reason: fmt.Sprintf("it has %d bytes of %d", info.Size(), size)}
	}
	if k, _ := tx.Cursor().First(); k == nil {
		return nil // never got as far as prepare
	}
	meta := tx.Bucket(bucketMeta)
	if meta == nil && tx.Bucket(bucketSessions) == nil {
		return errors.New("it is the database of another program")
	}
	if meta == nil {
		return &damage{reason: "it has no bucket meta"}
	}
	switch v, ok := parseNumber(meta.Get(keyFormat)); {
	case !ok || v < 1:
		return &damage{reason: "it has no known format"}
	case v > format:
		return fmt.Errorf("it has format %d, and this version knows %d only: "+
			"it was written by a newer one", v, format)
	}
	if _, ok := parseNumber(meta.Get(keyCount)); !ok {
		return &damage{reason: "it has no count of sessions"}
	}
	if _, ok := parseNumber(meta.Get(keyBytes)); !ok {
		return &damage{reason: "it has no count of bytes"}
	}
	for _, name := range [][]byte{bucketSessions, bucketExpiry, bucketUnclaimed, bucketIndex} {
		b := tx.Bucket(name)
		if b == nil {
			return &damage{reason: fmt.Sprintf("it has no bucket %s", name)}
		}
		if !all {
			continue
		}
		// The hash makes it read every byte, for the faults that may cause.
		h := fnv.New32a()
		err := b.ForEach(func(k, v []byte) error {
			_, _ = h.Write(k)
			_, _ = h.Write(v)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the buckets of a new file and returns the number of sessions.
func prepare(db *bolt.DB) (count int64, err error) {
	err = db.View(func(tx *bolt.Tx) error {
		if meta := tx.Bucket(bucketMeta); meta != nil {
			count, _ = parseNumber(meta.Get(keyCount))
			return errUnchanged
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return count, nil
	}
	if err != nil {
		return 0, err
	}
	return 0, db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketSessions, bucketExpiry, bucketUnclaimed, bucketIndex} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		return errors.Join(meta.Put(keyFormat, appendNumber(nil, format)),
			meta.Put(keyCount, appendNumber(nil, 0)), meta.Put(keyBytes, appendNumber(nil, 0)))
	})
}

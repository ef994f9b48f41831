package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"
)

// damage is an error that says that the file is not what this package wrote,
// as opposed to one that could not be read just now.
type damage struct {
	reason any         // an error, or what a panic said
	file   os.FileInfo // of the file in question; nil if not known
}

func (d *damage) Error() string { return fmt.Sprintf("the file is damaged: %v", d.reason) }

// bySystem reports whether the operating system refused something, which says
// nothing about what is in the file.
func bySystem(err error) bool {
	_, ok := errors.AsType[syscall.Errno](err)
	return ok
}

// setAside renames the file, never over another one. If the file is no longer
// the one that was found damaged, another process was faster: nothing is done.
func setAside(path string, d *damage, log *zap.Logger) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && d.file != nil && !os.SameFile(info, d.file) {
		return nil
	}
	if err != nil {
		return err
	}
	stamp := path + ".damaged-" + time.Now().UTC().Format("20060102T150405Z")
	aside := stamp
	for n := 2; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
		aside = fmt.Sprintf("%s-%d", stamp, n)
	}
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("setting the damaged file aside: %w", err)
	}
	log.Error("the file with the sessions is damaged: a new one is started, and everybody has to sign in again",
		zap.String("file", path), zap.String("renamed_to", aside), zap.Error(d))
	return nil
}

// guard runs fn and turns a panic or a memory fault into a damage error.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &damage{reason: r}
		}
	}()
	return fn()
}

// guard turns a panic of bbolt, or of reading where the file has no more pages,
// into an error, with which the file has failed: what bbolt has in memory is
// not to be trusted any more.
func (f *file) guard(fn func() error) (err error) {
	if err := f.failure(); err != nil {
		return err
	}
	err = guard(fn)
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return f.gone()
	}
	if _, ok := errors.AsType[*damage](err); ok && f.failed.CompareAndSwap(nil, &err) {
		f.log.Error("the file with the sessions failed and will be examined",
			zap.String("file", f.path), zap.Error(err))
	}
	return err
}

// failure returns the error with which the file has failed, if it has.
func (f *file) failure() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

package sqlite

import (
	"errors"
	"fmt"
	"syscall"
)

const sharingViolation = syscall.Errno(32) // ERROR_SHARING_VIOLATION

// lockFile takes the lock of a database for this process, or fails at once: a
// file that is open without sharing cannot be opened again. Windows closes it
// when the process ends, however it ends.
func lockFile(name string) (unlock func() error, err error) {
	p, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(p, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, sharingViolation) {
		err = errInUse
	}
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	return func() error { return syscall.CloseHandle(h) }, nil
}

// syncFolder does nothing: Windows writes names through.
func syncFolder(string) error { return nil }

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// clockVariable names the file that holds by how many seconds a process's clock is off.
const clockVariable = "SOAK_CLOCK"

// shiftFile is added to package time for the arcd of a soak: the machine's clock cannot be
// set for one process (Go asks the kernel directly, and Linux has no namespace for the time
// of day), so [time.Now] itself has to be told. Nothing of arcd is changed.
const shiftFile = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var soakShift = openSoakShift()

func openSoakShift() *int64 {
	name, set := syscall.Getenv("` + clockVariable + `")
	if !set {
		return new(int64)
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*int64)(unsafe.Pointer(&page[0]))
}

func soakSeconds() int64 { return atomic.LoadInt64(soakShift) }
`

// The line of time.Now that reads the clock, and what follows it.
const (
	readsClock = "\tsec, nsec, mono := runtimeNow()\n"
	addsShift  = "\tsec += soakSeconds()\n"
)

// buildArcd builds arcd with a clock that can be shifted, and gives its path. The first
// time it takes minutes, since everything stands on package time; then go's cache has it.
func buildArcd(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("asking where Go is: %w", err)
	}
	source := filepath.Join(string(bytes.TrimSpace(out)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return "", err
	}
	if bytes.Count(text, []byte(readsClock)) != 1 {
		return "", errors.New("time.Now of this Go reads the clock in another way than the soak knows")
	}
	shifted := filepath.Join(dir, "time.go")
	added := filepath.Join(dir, "soakshift.go")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(source, "time.go"): shifted, filepath.Join(source, "soakshift.go"): added,
	}})
	if err != nil {
		return "", err
	}
	list, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "arcd")
	err = errors.Join(
		os.WriteFile(shifted, bytes.Replace(text, []byte(readsClock), []byte(readsClock+addsShift), 1), 0o600),
		os.WriteFile(added, []byte(shiftFile), 0o600),
		os.WriteFile(list, overlay, 0o600))
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-overlay", list, "-trimpath", "-o", binary, "github.com/arcd-io/arcd/cmd/arcd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building arcd: %w\n%s", err, out)
	}
	return binary, nil
}

// setClock shifts the clock of the process that reads file, at once and as a whole.
func setClock(file string, by time.Duration) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	var seconds [8]byte
	binary.NativeEndian.PutUint64(seconds[:], uint64(int64(by/time.Second)))
	_, err = f.WriteAt(seconds[:], 0)
	return errors.Join(err, f.Close())
}

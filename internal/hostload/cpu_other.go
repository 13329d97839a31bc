//go:build !linux

package hostload

import (
	"errors"

	"github.com/shirou/gopsutil/v4/cpu"
)

// processors gives the time that all processors together worked, and that they
// could have worked, in seconds since the machine's start.
func processors() (busy, total float64, err error) {
	times, err := cpu.Times(false)
	if err != nil {
		return 0, 0, err
	}
	if len(times) != 1 {
		return 0, 0, errors.New("the times of the processors are not one sum")
	}
	t := times[0]
	// Guest time is within user time; time stolen by other guests is not ours.
	busy = t.User + t.Nice + t.System + t.Irq + t.Softirq
	return busy, busy + t.Idle + t.Iowait, nil
}

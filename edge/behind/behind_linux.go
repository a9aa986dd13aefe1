// Package behind makes the process step back behind the function's. Use Step
// once, when the threads of the Go runtime are there.
package behind

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// batch is SCHED_BATCH of sched(7).
const batch = 3

// Step makes the kernel never take a processor from the function because a
// thread of ours wakes: all of our threads become SCHED_BATCH, and those that
// they start inherit it. It needs no right. Where it fails nothing has changed
// but the threads that came first.
func Step() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list our threads: %w", err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return fmt.Errorf("list our threads: %w", err)
		}
		var priority int32 // struct sched_param
		_, _, failed := syscall.Syscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(id), batch,
			uintptr(unsafe.Pointer(&priority)))
		if failed != 0 && !errors.Is(failed, syscall.ESRCH) { // a thread may have ended
			return fmt.Errorf("make a thread SCHED_BATCH: %w", failed)
		}
	}
	return nil
}

package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// room is what is left of the environment's memory at first: enough for the
// function itself and the extension.
const room = 64 << 20

// outgrow takes the environment's memory but for room, and after a while more
// than is left. Where nothing limits the memory, the channel tells that it is
// given back.
func outgrow(after time.Duration) (<-chan error, error) {
	limit, err := strconv.Atoi(os.Getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"))
	if err != nil {
		return nil, fmt.Errorf("the function's memory: %w", err)
	}
	most, err := take(limit<<20 - room)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	time.AfterFunc(after, func() {
		rest, err := take(room)
		if err == nil {
			err = syscall.Munmap(rest)
		}
		_ = syscall.Munmap(most) // as the kernel gave it
		done <- err
	})
	return done, nil
}

// take takes memory that no garbage collector looks at, and writes to each page.
// Pages are small: huge ones can take the machine seconds to find.
func take(bytes int) ([]byte, error) {
	memory, err := syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("take %d bytes of memory: %w", bytes, err)
	}
	for page := 0; page < bytes; page += os.Getpagesize() {
		memory[page] = 1
	}
	return memory, nil
}

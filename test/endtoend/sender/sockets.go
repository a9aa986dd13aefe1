package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// listening tells which sockets of the extension others can reach: TCP sockets
// that listen and UDP sockets as the kernel's text of their address, Unix sockets
// by their path.
func listening() (map[string][]string, error) {
	inodes, err := extensionSockets()
	if err != nil {
		return nil, err
	}
	open := map[string][]string{"tcp": {}, "udp": {}, "unix": {}}
	for _, table := range []struct {
		file, kind            string
		inode, state, address int // columns
		listens               string
	}{
		{"tcp", "tcp", 9, 3, 1, "0A"}, {"tcp6", "tcp", 9, 3, 1, "0A"},
		{"udp", "udp", 9, 3, 1, "07"}, {"udp6", "udp", 9, 3, 1, "07"},
		{"unix", "unix", 6, 3, 7, "00010000"},
	} {
		text, err := os.ReadFile("/proc/net/" + table.file)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			columns := strings.Fields(line)
			if len(columns) > table.address && len(columns) > table.inode && inodes[columns[table.inode]] &&
				columns[table.state] == table.listens {
				open[table.kind] = append(open[table.kind], columns[table.address])
			}
		}
	}
	return open, nil
}

// extensionSockets are the inodes of the sockets of the other process of this
// execution environment that knows the same Runtime API.
func extensionSockets() (map[string]bool, error) {
	api := []byte("AWS_LAMBDA_RUNTIME_API=" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "\x00")
	names, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, err
	}
	inodes := map[string]bool{}
	for _, name := range names {
		folder := filepath.Dir(name)
		environ, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(environ, api) || folder == fmt.Sprintf("/proc/%d", os.Getpid()) {
			continue // gone, or another's
		}
		files, err := filepath.Glob(folder + "/fd/*")
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if to, err := os.Readlink(file); err == nil && strings.HasPrefix(to, "socket:[") {
				inodes[strings.Trim(to, "socket:[]")] = true
			}
		}
	}
	if len(inodes) == 0 {
		return nil, fmt.Errorf("no extension has a socket among %d processes", len(names))
	}
	return inodes, nil
}

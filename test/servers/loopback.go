package servers

import (
	"net/netip"
	"os"
)

// Loopback gives addresses for the environments of one emulator that no other
// process's emulator has: the extension listens on fixed ports there, and go test
// runs packages at once.
func Loopback() (addresses []netip.Addr) {
	pid := os.Getpid()
	for last := range byte(60) {
		addresses = append(addresses, netip.AddrFrom4([4]byte{127, byte(1 + pid/250%250), byte(1 + pid%250), 1 + last}))
	}
	return addresses
}

package otlp

import (
	"net"
	"testing"
)

// Door and server both close a socket at the end, in any order.
func TestTheDoorClosesBeforeTheServer(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(1)
	guarded := d.guard(socket)
	d.close()
	if err := guarded.Close(); err != nil {
		t.Error(err)
	}
	if _, err := guarded.Accept(); err == nil {
		t.Error("the socket is still open")
	}
}

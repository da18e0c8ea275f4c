package httpserver

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// ignoreNew has the kernel drop the packets with which a connection to listener begins, the SYNs. Those under way, and
// those in its queue, go on. Where that is not possible a connection may be reset.
func ignoreNew(listener net.Listener) {
	const (
		flags = 13 // of a TCP header
		syn   = 2
		all   = 1<<32 - 1
	)
	program := [...]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: syn},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: all},
	}
	socket, ok := listener.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
		_ = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter)
	})
}

//go:build !linux

package fcgi

import "net"

// hungUp can't be told here: the end of the connection is seen when the data before it
// has been read.
func hungUp(net.Conn) bool { return false }

// Part of the package snowflakes in the test: the clock of test/t/fake_clock.c, since a
// Go program does not read the clock by the C library.
package snowflakes

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

func init() {
	name := os.Getenv("FAKE_CLOCK")
	if name == "" {
		return
	}
	file, err := os.Open(name)
	if err != nil {
		panic(err)
	}
	page, err := syscall.Mmap(int(file.Fd()), 0, 16, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	setting := (*[2]int64)(unsafe.Pointer(&page[0]))
	clock = func() int64 {
		if frozen := atomic.LoadInt64(&setting[1]); frozen != 0 {
			return frozen / int64(time.Millisecond)
		}
		return (time.Now().UnixNano() + atomic.LoadInt64(&setting[0])) / int64(time.Millisecond)
	}
}

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// window is a terminal of a test: what is written to it can be read as its user sees it.
type window struct {
	*os.File // the side of the program

	mu    sync.Mutex // guards shown
	shown strings.Builder
	more  chan struct{} // holds one when something was shown
	ended chan struct{} // closed when the program's side is closed
}

// openWindow opens a pseudo-terminal of this size.
func openWindow(t *testing.T, columns, rows uint16) *window {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("SKIPPED, THE WINDOW IS NOT LOOKED AT: no pseudo-terminal here: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	control := func(request, argument uintptr) {
		t.Helper()
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, user.Fd(), request, argument); errno != 0 {
			t.Skipf("SKIPPED, THE WINDOW IS NOT LOOKED AT: this pseudo-terminal cannot be used: %v", errno)
		}
	}
	var number, locked int32
	size := [4]uint16{rows, columns}
	control(syscall.TIOCGPTN, uintptr(unsafe.Pointer(&number)))
	control(syscall.TIOCSPTLCK, uintptr(unsafe.Pointer(&locked)))
	control(syscall.TIOCSWINSZ, uintptr(unsafe.Pointer(&size)))
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED, THE WINDOW IS NOT LOOKED AT: %v", err)
	}
	w := &window{File: program, more: make(chan struct{}, 1), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		buffer := make([]byte, 4096)
		for {
			n, err := user.Read(buffer)
			w.mu.Lock()
			w.shown.Write(buffer[:n])
			w.mu.Unlock()
			if err != nil {
				return // the program's side is closed
			}
			select {
			case w.more <- struct{}{}:
			default: // the one that is there tells of this, too
			}
		}
	}()
	return w
}

// text returns what was shown so far, with the terminal's ends of lines taken back.
func (w *window) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.ReplaceAll(w.shown.String(), "\r\n", "\n")
}

// Goal: status --watch draws on the alternate screen of a terminal, no more lines than the
// window has, and says how many are missing; behind its end the whole last picture stays on
// the usual screen. Method: pseudo-terminals that are too low and high enough, and eight
// endpoints at which nothing listens.
func TestAWatchedStatusFitsTheHeightOfTheWindow(t *testing.T) {
	var endpoints []string
	for range 8 {
		endpoints = append(endpoints, nowhere(t))
	}
	for rows, low := range map[uint16]bool{6: true, 40: false} {
		s := statusSettings{clerkSettings: clerkSettings{endpoints: strings.Join(endpoints, ","), timeout: time.Second}, watch: true}
		w := openWindow(t, 80, rows)
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- s.watchStatus(ctx, w.File) }()
		for deadline := time.After(10 * time.Second); !strings.Contains(w.text(), clearBelow); {
			select {
			case <-w.more:
			case <-deadline:
				t.Fatalf("nothing was drawn: %q", w.text())
			}
		}
		cancel()
		if err := <-over; err != nil {
			t.Fatal(err)
		}
		w.Close()
		<-w.ended
		screen, after, left := strings.Cut(strings.TrimPrefix(w.text(), enterAlternateScreen), leaveAlternateScreen)
		if !strings.HasPrefix(w.text(), enterAlternateScreen) || !left {
			t.Fatalf("%d rows: it does not draw on the alternate screen, and leave it: %q", rows, w.text())
		}
		picture, _, _ := strings.Cut(strings.TrimPrefix(screen, cursorHome), clearBelow)
		lines, whole := strings.Split(picture, "\n"), strings.Split(strings.TrimSuffix(after, "\n"), "\n")
		missing := fmt.Sprintf("… %d more lines; the window is too low", len(whole)-int(rows)+1)
		if got := len(lines); low && (got != int(rows) || !strings.Contains(lines[got-1], missing)) || !low && got != len(whole) || strings.Contains(picture, "too low") != low {
			t.Errorf("%d rows, %d lines in all: %d lines are drawn: %q", rows, len(whole), got, picture)
		}
		for _, endpoint := range endpoints {
			if !strings.Contains(after, endpoint) {
				t.Errorf("%d rows: the last picture does not stay whole: %q", rows, after)
			}
		}
	}
}

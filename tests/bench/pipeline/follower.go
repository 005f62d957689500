package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// receiveBytes is how much a follower takes with one read.
const receiveBytes = 4 << 20

// Follow serves leaders, which connect to the listener, one after the other. It returns
// only with an error.
func Follow(l net.Listener, dir string) error {
	f, err := newFile(dir, fileBytes)
	if err != nil {
		return err
	}
	defer f.Close()
	return serveLeaders(l, f)
}

func serveLeaders(l net.Listener, f *file) error {
	for {
		leader, err := l.Accept()
		if err != nil {
			return fmt.Errorf("waiting for the leader: %w", err)
		}
		err = follow(leader, f)
		leader.Close()
		if err != nil {
			return err
		}
	}
}

// follow serves one leader until it has gone. What has arrived is saved with one write
// and one sync; the answer is the number of bytes that are durable.
func follow(leader net.Conn, f *file) error {
	buffer := make([]byte, receiveBytes)
	answer := make([]byte, ackBytes)
	for durable := uint64(0); ; {
		n, err := leader.Read(buffer)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading from the leader: %w", err)
		}
		if err := f.save(buffer[:n]); err != nil {
			return err
		}
		durable += uint64(n)
		binary.LittleEndian.PutUint64(answer, durable)
		if _, err := leader.Write(answer); err != nil {
			return fmt.Errorf("answering the leader: %w", err)
		}
	}
}

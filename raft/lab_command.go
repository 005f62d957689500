package raft

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"fmt"
)

// Commands of the labs may be anything that gob can carry. They are encoded
// once, at Start, and come out with their dynamic type. The usual types have
// short encodings of their own, because gob repeats a type's description in
// every command and the labs weigh the log.
const (
	commandGob    = 0
	commandInt    = 1
	commandString = 2
	commandBytes  = 3
)

// encodeCommand panics on a command that gob refuses: its type was not
// registered, and only the caller can register it.
func encodeCommand(command interface{}) []byte {
	switch c := command.(type) {
	case int:
		return binary.AppendVarint([]byte{commandInt}, int64(c))
	case string:
		return append([]byte{commandString}, c...)
	case []byte:
		return append([]byte{commandBytes}, c...)
	case nil:
		return nil
	}
	b := bytes.NewBuffer([]byte{commandGob})
	if err := gob.NewEncoder(b).Encode(&command); err != nil {
		panic(fmt.Sprintf("raft: a command of type %T cannot be encoded: %v: register the type with labgob.Register", command, err))
	}
	return b.Bytes()
}

// decodeCommand panics on bytes that encodeCommand cannot have written.
func decodeCommand(b []byte) interface{} {
	if len(b) == 0 {
		return nil
	}
	kind, b := b[0], b[1:]
	switch kind {
	case commandInt:
		n, _ := binary.Varint(b)
		return int(n)
	case commandString:
		return string(b)
	case commandBytes:
		return bytes.Clone(b)
	}
	var command interface{}
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&command); err != nil {
		panic(fmt.Sprintf("raft: a command in the log cannot be decoded: %v", err))
	}
	return command
}

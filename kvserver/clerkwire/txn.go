package clerkwire

import (
	"raftkv/kvserver/api"
	"raftkv/raft/msgpack"
)

const (
	// MaxTxnBytes is the length of the longest body of a transaction or of the removal of a
	// range.
	MaxTxnBytes = api.MaxTxnBytes
	maxTxnBody  = MaxTxnBytes + 64
	// MaxTxnResultBytes is how many bytes of keys and values an outcome may show, with 64
	// more for each key.
	MaxTxnResultBytes = 8 << 20
	maxDoneBody       = MaxTxnResultBytes + 1<<20
)

// Txn is a transaction or, in a frame of that kind, the removal of a range. One without a
// write is in no session: Session, Lane and Seq are zero.
type Txn struct {
	Session  uint64
	Lane     uint64
	Seq      uint64
	Previous bool   // the removal of a range shows what was there
	Body     []byte // of the command; see kv.TxnCommand and kv.DeleteRangeCommand
}

func (m Txn) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 5)
	dst = msgpack.AppendUint(dst, m.Session)
	dst = msgpack.AppendUint(dst, m.Lane)
	dst = msgpack.AppendUint(dst, m.Seq)
	dst = msgpack.AppendBool(dst, m.Previous)
	return msgpack.AppendBytes(dst, m.Body)
}

// Parse reads a body.
func (m *Txn) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(5)
	m.Session = r.Uint()
	m.Lane = r.Uint()
	m.Seq = r.Uint()
	m.Previous = r.Bool()
	m.Body = r.Bytes(MaxTxnBytes)
	return r.Close()
}

// TxnDone answers a Txn.
type TxnDone struct {
	Revision uint64 // of the change; of the store, if nothing has changed
	Replayed bool   // an earlier attempt was done, and this is what is remembered of it
	Outcome  []byte // see txn.Outcome.Encode
}

func (m TxnDone) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 3)
	dst = msgpack.AppendUint(dst, m.Revision)
	dst = msgpack.AppendBool(dst, m.Replayed)
	return msgpack.AppendBytes(dst, m.Outcome)
}

// Parse reads a body.
func (m *TxnDone) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(3)
	m.Revision = r.Uint()
	m.Replayed = r.Bool()
	m.Outcome = r.Bytes(maxDoneBody)
	return r.Close()
}

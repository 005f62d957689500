package api

// LabOp is the operation that a Clerk of the labs asks for. The values are those
// of the commands in the log.
type LabOp uint8

// The operations.
const (
	LabOpenSession LabOp = 1
	LabPut         LabOp = 2
	LabAppend      LabOp = 3
	LabGet         LabOp = 5
)

// LabStatus is the end of a command of the labs; 0 is success. The values are
// those of the state machine.
type LabStatus uint8

// The ends that Clerks distinguish.
const (
	LabOK              LabStatus = 0
	LabNotFound        LabStatus = 1
	LabSessionExpired  LabStatus = 5
	LabConditionFailed LabStatus = 8
)

// SubmitArgs is a command as Clerks of the labs send it. All fields are exported
// because labgob asks for it.
type SubmitArgs struct {
	Op      LabOp
	Session uint64 // 0: none
	Seq     uint64 // number of the call in its session
	Key     string
	Value   string
	// Conditional lets a put happen only on this version.
	Conditional bool
	IfVersion   uint64
}

// SubmitReply answers SubmitArgs. Without Done and Refused the outcome is not
// known. The other fields come with Done.
type SubmitReply struct {
	Done    bool
	Refused bool // the command did not happen, and this attempt will have no effect
	Status  LabStatus
	Session uint64 // the ID of the session that was opened
	Value   string // the value that a get found
	Version uint64 // of the key, after a put or append, of a get, or when a condition failed
}

// Package labrpc is the simulated network of the Raft labs: remote procedure
// calls between servers of one process, over a network that can lose, delay and
// reorder them and be cut at any point. It speaks every edition's API.
//
// A Network holds ends and servers. An end is one direction of one wire, made
// by MakeEnd, disabled and unconnected at first; Connect says which server it
// leads to and Enable lets calls through. A Server is a bundle of services,
// each made by MakeService from any object with methods that look like
//
//	func (rf *Raft) RequestVote(args *RequestVoteArgs, reply *RequestVoteReply)
//
// and called as end.Call("Raft.RequestVote", &args, &reply).
//
// The fate of a call is drawn when it is sent, from the state of its end and of
// the network at that moment (fate.go). After that the call lives in its caller's
// goroutine, and its handler in one of its own. Concurrent calls may therefore
// arrive in any order. There is no goroutine in the network itself and no
// polling, so a Network fits into a testing/synctest bubble, in which it must
// have been made. Cleanup ends every call at once, whatever it was waiting for.
// After that only handlers that have not returned are left. Even without Cleanup
// an idle network leaves nothing behind.
//
// Misuse that would only mislead a student, such as a call of a method that
// does not exist, ends the process by log.Fatalf with the reason.
//
// The package knows nothing of Raft. It also leaves out what editions exported
// for their own plumbing or by accident: the parts of the 2026 edition that
// spread servers over processes (LookupEnd, SetCall, Forward, SetDispatch,
// Dispatch, Marshall, Unmarshall), and ReadEndnameInfo, IsServerDead and
// ProcessReq of 2016–2018.
package labrpc

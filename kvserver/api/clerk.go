package api

// HeaderLeaderAddr is set when a Clerk's connection begins: where the leader
// takes clients, if it is another node.
const HeaderLeaderAddr = "Kv-Leader-Addr"

// CodeSessionExpired is answered to Clerks only: the session of the call is not
// known any more, or has moved on. This attempt did nothing; an earlier one may
// have.
const CodeSessionExpired Code = "session_expired"

package api

// HeaderLeaderAddr is set when a Clerk's connection begins: where the leader
// takes clients, if it is another node.
const HeaderLeaderAddr = "Kv-Leader-Addr"

// HeaderClusterUID is set when a Clerk's connection begins: the cluster's uid, 32
// hexadecimal digits, which tells clusters of one name apart. It is left out while
// the server does not know it.
const HeaderClusterUID = "Kv-Cluster-Uid"

// CodeSessionExpired is answered to Clerks only: the session of the call is not
// known any more, or has moved on. This attempt did nothing; an earlier one may
// have.
const CodeSessionExpired Code = "session_expired"

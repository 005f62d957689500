package core

// Rejoining says how far a server has come back that lost its disk and with it
// what it had promised. The zero Rejoining is of a full member.
type Rejoining struct {
	On    bool   // the server is not a full member yet: it votes for nobody
	Term  uint64 // no server was in a later term when the goal was made; 0: there is no goal yet
	Index uint64 // the goal: what must be committed here
}

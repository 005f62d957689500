// Package retransmit bounds how long the kernel waits before it sends lost bytes of a
// connection again.
//
// TCP doubles that wait with every loss, up to two minutes. So behind a cut of five
// seconds a message between two nodes may wait for three more, though the network is
// whole again: an election then takes so much longer. What nodes say to each other is
// small and they say it all the time, so there is nothing to gain by waiting.
package retransmit

// Package stage lets the nodes of one process suffer what nodes of a cluster suffer: they
// are killed and started, stopped and let go on, cut off from each other, and their disks
// become slow or hang. raftkv dev shows with it what follows, and tests plant with it what
// raftkv explain must find.
//
// The mental model is a theatre. The nodes are the shipped ones and know nothing of the
// stage. What they speak to each other passes through Network, what they write passes
// through a Disk, and a Stage pulls the ropes. A gate that is shut keeps bytes and lets
// them go when it opens, as TCP does over a link that is cut for a while.
//
// Nothing here is part of raftkv serve.
package stage

// Command raftkv runs nodes of a replicated key/value store.
//
// This package holds the commands, their flags and their texts. serve runs one node, dev
// several in one process; the other commands are clients of a cluster, or read a backup
// or a log. Everything that has an algorithm is below internal: host runs a node,
// inventory judges what a directory holds, logging makes the logger, process divides what
// the process may use, settings reads flags, variables and files, address opens ports,
// ask and status question the nodes, secure has the certificates, terminal shows and target
// writes files.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

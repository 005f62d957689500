// Package process deals with what one process may use of its machine: file
// descriptors (Divide), memory (TuneCollector), room on the disk (FreeBytes), what to do
// when they are short for a moment (PatientFS, PatientListener), and that it leaves no
// image of its memory (ForbidCores).
//
// Every node of the process shares these. So limits are divided before a node starts,
// and a node is told its share.
package process

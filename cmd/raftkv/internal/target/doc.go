// Package target makes the file that a command writes: whole and on the disk, or not at
// all. What is no file is never replaced.
package target

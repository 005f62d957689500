// Package terminal is what a command shows to a person and reads from standard input.
//
// It asks whether somebody sees an output and how wide the window is, keeps the first
// error of an output, shows progress and what is waited for, and makes text harmless,
// so that no value can give a terminal orders.
package terminal

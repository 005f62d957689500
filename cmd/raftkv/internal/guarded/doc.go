// Package guarded has the commands lock and elect, which run a command of the user's while
// a lock is held, and end it when the lock is lost.
package guarded

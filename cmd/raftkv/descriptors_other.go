//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package main

func descriptorLimit() int { return unknownDescriptorLimit }

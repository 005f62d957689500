//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package process

func DescriptorLimit() int { return unknownDescriptorLimit }

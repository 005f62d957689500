//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package process

// DescriptorLimit returns how many descriptors this process may have open, which cannot
// be asked for here.
func DescriptorLimit() int { return unknownDescriptorLimit }

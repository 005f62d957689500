// Package gate judges whether a program costs more than an earlier one, or is slower.
//
// Three clusters run: one of the program that is judged, and two of the earlier program.
// They have their turns at the same load, round by round. Each figure of the judged
// program is divided by the mean of the two earlier ones in the same round; what the two
// earlier ones differ by is what the machine itself adds. Judge decides by these ratios.
//
//	make gate BASE=COMMIT
package gate

// Package sorted is a map from strings whose versions share what they have in common.
//
// # Mental model
//
// A [Map] never changes. With and Without return another Map, which shares all but a
// path with the first one:
//
//	m ──► d              n ──► d'
//	     / \                  / \
//	    b   f     With f     b   f'      b and its subtrees belong to both
//
// So a version costs its differences only, and whoever holds one may read it without a
// lock for as long as he likes. [Diff] walks over two versions and leaves out what they
// share, so it costs their differences, too.
//
// The tree is balanced by the sizes of its subtrees (Adams, "Efficient sets: a balancing
// act", 1993; with the constants of Hirai and Yamamoto, 2011).
//
// # What it does not know
//
// What the values are, and when two of them are equal.
package sorted

// Package residue holds the few branch-free word operations that Lattigo does
// not export. All residues are below their prime q < 2^62.
package residue

import "math/bits"

// Add is a + b mod q.
func Add(a, b, q uint64) uint64 {
	v := a + b - q
	return v + q&-(v>>63)
}

// Sub is a - b mod q.
func Sub(a, b, q uint64) uint64 {
	v := a - b
	return v + q&-(v>>63)
}

// Reduce is the Montgomery reduction of hi 2^64 + lo for hi < q: that times
// 2^-64 mod q. mred is q^-1 mod 2^64.
func Reduce(hi, lo, q, mred uint64) uint64 {
	h, _ := bits.Mul64(lo*mred, q)
	r := hi - h
	return r + q&-(r>>63)
}

// AddSmall adds signed integers, |e| < q, to residues.
func AddSmall(x []uint64, e []int64, q uint64) {
	for i, v := range e {
		y := x[i] + uint64(v) + q&uint64(v>>63) - q
		x[i] = y + q&-(y>>63)
	}
}

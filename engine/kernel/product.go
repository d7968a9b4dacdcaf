package kernel

// #include "kernel.h"
import "C"

// fold is how many products of residues below 2^30 are added to a sum below fold
// q^2 before it is brought there again: all together less than 2^64.
const fold = 8

// Rows is a matrix of residues, another one at each point: Words is
// [limb][point / 16][row][feature][16].
//
// A Form multiplies residues with small whole numbers; this with full residues, so
// that matrix and vector may both be ciphertexts.
type Rows struct {
	Points, Features, Rows int
	Primes                 []float64
	Words                  []uint32
}

// Times writes the product with a batch x, [limb][point / 16][feature][16], in
// [0, q): [row][limb][point].
func (r *Rows) Times(set Set, x, out []uint32) {
	size := len(r.Primes) * r.Points
	matrix, x, out := r.Words[:size*r.Rows*r.Features], x[:size*r.Features], out[:size*r.Rows]
	if set == Portable {
		r.portableTimes(x, out)
		return
	}
	C.fa_kernel_product(C.int(set), C.int(len(r.Primes)), C.int(r.Points), C.int(r.Features), C.int(r.Rows),
		doubles(r.Primes), words(matrix), words(x), words(out))
}

func (r *Rows) portableTimes(x, out []uint32) {
	blocks := r.Points / Block
	for l, prime := range r.Primes {
		q := uint64(prime)
		most := fold * q * q
		for b := range blocks {
			at := l*blocks + b
			for j := range r.Rows {
				var sum [Block]uint64
				for i := range r.Features {
					a := (*[Block]uint32)(r.Words[((at*r.Rows+j)*r.Features+i)*Block:])
					c := (*[Block]uint32)(x[(at*r.Features+i)*Block:])
					for p := range Block {
						sum[p] += uint64(a[p]) * uint64(c[p])
					}
					if i%fold == fold-1 {
						for p, v := range sum {
							sum[p] = min(v, v-most) // a sum below most wraps to a larger one
						}
					}
				}
				to := (*[Block]uint32)(out[(j*len(r.Primes)*blocks+at)*Block:])
				for p, v := range sum {
					to[p] = uint32(v % q)
				}
			}
		}
	}
}

// Package kernel is what a scoring service computes on residues (products with
// small whole numbers, and sums of products), and what a tenant encrypts and
// decrypts with. C versions for AMX, AVX-512 and AVX2. Of the former there is one in
// Go for every other processor; for the latter, package scoring uses Lattigo there.
// All give the same bits.
package kernel

// #cgo CFLAGS: -std=gnu11
// #cgo !asan CFLAGS: -O3
// #include "kernel.h"
import "C"

import (
	"math"
	"runtime"
	"slices"
	"unsafe"
)

// Set is an instruction set.
type Set int

// The sets, slowest first.
const (
	Portable Set = iota
	AVX2
	AVX512
	AMX // of a Form that is ready for it; AVX512 to all else
)

func (s Set) String() string { return [...]string{"portable", "avx2", "avx512", "amx"}[s] }

// Best is the fastest set of this processor.
func Best() Set { return Set(C.fa_kernel_best()) }

// Block is the number of points that lie side by side.
const Block = 16

// Form is a matrix of whole numbers over several primes, with a bias.
//
// Shapes: Weights [Features][Rows]; Primes [limbs]; Bias [2][limbs][Rows], for
// the first and the second half of the points: residues, each plus Origin of its
// prime. L1(row) q + 2 q < 2^51.
type Form struct {
	Points, Features, Rows int
	Weights, Primes, Bias  []float64
	tiles                  *tiles
}

// Origin is a multiple of a prime next to 3 2^51. Sums that start there stay between
// 2^52 and 2^53, where a float64 ends in the bits of the whole number that it is.
func Origin(prime float64) float64 { return math.Floor(3<<51/prime) * prime }

// Linear writes y = W x (+ bias), signed and half a prime in magnitude at most, give
// or take two, or .516 of one with AMX; x is [limb][point / 16][feature][16], y has
// rows in place of features.
func (f *Form) Linear(set Set, x []uint32, biased bool, y []int32) {
	if set == AMX && f.tiles != nil && biased {
		f.tiles.linear(f, x, y)
		return
	}
	bias := f.Bias
	if !biased {
		bias = f.Origins()
	}
	if set == Portable {
		f.portableLinear(x, bias, y)
		return
	}
	C.fa_kernel_linear(C.int(set), C.int(len(f.Primes)), C.int(f.Points), C.int(f.Features), C.int(f.Rows),
		doubles(f.Weights), doubles(f.Primes), doubles(bias), (*C.uint32_t)(&x[0]), (*C.int32_t)(&y[0]))
}

// Origins are the biases of a form that has none.
func (f *Form) Origins() []float64 {
	out := make([]float64, 0, 2*len(f.Primes)*f.Rows)
	for range 2 {
		for _, q := range f.Primes {
			out = append(out, slices.Repeat([]float64{Origin(q)}, f.Rows)...)
		}
	}
	return out
}

// Answer is what a quadratic form gives: sums over its rows, in [0, q). With y =
// W c0 + bias, z = W a and p' the mirrored point of p: S1 = y^2, S2 = y z and U =
// y(p) z(p') at all points, T1 = y(p) y(p') at the first half of them.
type Answer struct{ S1, S2, U, T1 []uint32 }

// Mirror turns the blocks of the second half of y backwards, as Quadratic wants
// them: so points that mirror each other lie side by side.
func (f *Form) Mirror(y []int32) {
	half := f.Points / 2 * f.Rows
	for limb := range f.Primes {
		upper := y[(2*limb+1)*half : (2*limb+2)*half]
		for ; len(upper) > 0; upper = upper[Block:] {
			slices.Reverse(upper[:Block])
		}
	}
}

// Quadratic computes an answer from c0 and from fixed = W a, signed and mirrored.
// False, and an answer of no meaning, unless every residue of c0 is below its prime.
func (f *Form) Quadratic(set Set, fixed []int32, c0 []uint32, out Answer) bool {
	if set == Portable {
		return f.portableQuadratic(fixed, c0, out)
	}
	if set == AMX && f.tiles != nil {
		return f.tiles.quadratic(f, fixed, c0, out)
	}
	return C.fa_kernel_quadratic(C.int(set), C.int(len(f.Primes)), C.int(f.Points), C.int(f.Features), C.int(f.Rows),
		doubles(f.Weights), doubles(f.Primes), doubles(f.Bias), (*C.int32_t)(&fixed[0]), (*C.uint32_t)(&c0[0]),
		(*C.uint32_t)(&out.S1[0]), (*C.uint32_t)(&out.S2[0]), (*C.uint32_t)(&out.U[0]), (*C.uint32_t)(&out.T1[0])) == 1
}

// Below tells whether the residues x of each prime, equally many, are below it.
func Below(primes []float64, x []uint32) bool {
	return C.fa_kernel_below(C.int(len(primes)), C.long(len(x)/len(primes)), doubles(primes),
		(*C.uint32_t)(&x[0])) == 1
}

// Peak is how many billions of multiply-adds a second one core can do with a
// set at most; 0 for the portable one.
func Peak(set Set) float64 {
	if set == Portable {
		return 0
	}
	return float64(C.fa_kernel_peak(C.int(set)))
}

func doubles(x []float64) *C.double { return (*C.double)(&x[0]) }

// pinned holds a slice, which may be empty, in its place until pin lets it go.
func pinned[T any](pin *runtime.Pinner, x []T) unsafe.Pointer {
	if len(x) == 0 {
		return nil
	}
	pin.Pin(&x[0])
	return unsafe.Pointer(&x[0])
}

package kernel

// #include "kernel.h"
import "C"

import "runtime"

// MaxHidden is how many forms a polynomial may mix.
const MaxHidden = C.FA_HIDDEN

// Polynomial is a score of degree 4. With y = W x + b and u = fold y^2 it is
//
//	sum (mix u + direct t + shift)^2 + sum (W' x + b')^2,
//
// each sum times a factor; t is x or, OfForms, y. Of the biases of both forms
// the first half is meant for all points.
//
// Shapes: Mix [hidden][row], Direct [row], Shift [limb][row], like biases; Span [row][2], the
// hidden forms from the one to below the other, outside of which Mix is 0;
// Factors [limb][5], signed: fold, that of rows, its double, that of the plain
// squares, its double. L1(mix of a row) q + |direct| q + 2 q < 2^51.
type Polynomial struct {
	Forms, Plain       Form
	Rows               int
	OfForms            bool
	Mix, Direct, Shift []float64
	Span               []int32
	Factors            []float64
}

// Fixed is what a polynomial takes from the coefficients of s. Signed: Forms =
// 2 fold W a, Rows1 and Rows2 = the parts of s, less 3 2^51 and in [0, q), and,
// doubled, of s^2 in the rows, Plain = W' a, Square [limb][point] = what s^2 gets from the plain squares.
type Fixed struct{ Forms, Rows1, Rows2, Plain, Square []int32 }

// Score writes the coefficients of 1, s, s^2 and s^3, in [0, q): [4][limb][point].
// False, and coefficients of no meaning, unless every residue of c0 is below its
// prime.
func (p *Polynomial) Score(set Set, fixed *Fixed, c0, out []uint32) bool {
	if set == Portable {
		return p.portableScore(fixed, c0, out)
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	number := func(x []float64) *C.double { return (*C.double)(pinned(&pin, x)) }
	whole := func(x []int32) *C.int32_t { return (*C.int32_t)(pinned(&pin, x)) }
	ofForms := 0
	if p.OfForms {
		ofForms = 1
	}
	c := C.fa_polynomial{
		limbs: C.int(len(p.Forms.Primes)), points: C.int(p.Forms.Points), features: C.int(p.Forms.Features),
		hidden: C.int(p.Forms.Rows), rows: C.int(p.Rows), plain: C.int(p.Plain.Rows), of_forms: C.int(ofForms),
		primes: number(p.Forms.Primes), weights: number(p.Forms.Weights), bias: number(p.Forms.Bias),
		mix: number(p.Mix), direct: number(p.Direct), shift: number(p.Shift), span: whole(p.Span),
		plain_weights: number(p.Plain.Weights), plain_bias: number(p.Plain.Bias), factors: number(p.Factors),
		forms1: whole(fixed.Forms), rows1: whole(fixed.Rows1), rows2: whole(fixed.Rows2),
		plain1: whole(fixed.Plain), square: whole(fixed.Square),
	}
	return C.fa_kernel_polynomial(C.int(set), &c, (*C.uint32_t)(&c0[0]), (*C.uint32_t)(&out[0])) == 1
}

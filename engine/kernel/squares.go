package kernel

// #include <stdlib.h>
// #include "kernel.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Squares are the outputs of a circuit of squares where fa_squares_score finds them.
// They stay there, and nothing that they are made of moves, until Close.
type Squares struct {
	outputs *C.fa_squares
	pin     runtime.Pinner
}

// NewSquares makes them of forms over the same primes, and of what Quadratic takes as
// fixed with each.
func NewSquares(set Set, forms []*Form, fixed [][]int32) *Squares {
	s := &Squares{outputs: (*C.fa_squares)(C.calloc(C.size_t(len(forms)), C.sizeof_fa_squares))}
	for i, f := range forms {
		out := C.fa_squares{isa: C.int(set), limbs: C.int(len(f.Primes)), points: C.int(f.Points),
			features: C.int(f.Features), rows: C.int(f.Rows), weights: (*C.double)(pinned(&s.pin, f.Weights)),
			primes: (*C.double)(pinned(&s.pin, f.Primes)), bias: (*C.double)(pinned(&s.pin, f.Bias)),
			fixed: (*C.int32_t)(pinned(&s.pin, fixed[i]))}
		if set == AMX && f.tiles != nil {
			out.digits = (*C.int8_t)(pinned(&s.pin, f.tiles.digits))
			out.residues = (*C.int32_t)(pinned(&s.pin, f.tiles.bias))
		}
		unsafe.Slice(s.outputs, len(forms))[i] = out
	}
	return s
}

// Address is what fa_squares_score wants.
func (s *Squares) Address() int64 { return int64(uintptr(unsafe.Pointer(s.outputs))) }

// Close lets go of everything. No call may be under way.
func (s *Squares) Close() {
	C.free(unsafe.Pointer(s.outputs))
	s.pin.Unpin()
}

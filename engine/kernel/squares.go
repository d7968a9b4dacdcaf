package kernel

// #include <stdlib.h>
// #include "kernel.h"
import "C"

import (
	"runtime"
	"unsafe"

	"fedanomaly/engine/fault"
)

// Squares are the outputs of a circuit of squares where fa_squares_score finds them,
// for kernels in C. They stay there, and nothing that they are made of moves, until
// Close.
type Squares struct {
	outputs *C.fa_squares
	count   int
	pin     runtime.Pinner
}

// NewSquares makes them of forms over the same primes, and of what Quadratic takes as
// fixed with each.
func NewSquares(set Set, forms []*Form, fixed [][]int32) *Squares {
	n := len(forms)
	s := &Squares{outputs: (*C.fa_squares)(C.calloc(C.size_t(n), C.sizeof_fa_squares)), count: n}
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

// Score writes the answer to a batch, as fa_squares_score does; nil, or its number.
func (s *Squares) Score(batch, answer []uint32) error {
	code := C.fa_squares_score(C.int64_t(s.Address()), C.int32_t(s.count), first(batch), C.int64_t(len(batch)),
		first(answer), C.int64_t(len(answer)))
	if code == 0 {
		return nil
	}
	return fault.Code(code)
}

func first(x []uint32) *C.uint32_t { return (*C.uint32_t)(unsafe.Pointer(unsafe.SliceData(x))) }

// Close lets go of everything. No call may be under way.
func (s *Squares) Close() {
	C.free(unsafe.Pointer(s.outputs))
	s.pin.Unpin()
}

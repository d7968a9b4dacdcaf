package kernel

// #include "kernel.h"
import "C"

import "math"

// tiles is a form for the tiles of AMX, as tiles.h has it.
type tiles struct {
	digits []int8
	bias   []int32
}

// The shape of a tile: forms and features of one, and powers of 256 whose sums a
// form has.
const (
	tileForms    = 4
	tileFeatures = 16
	powers       = 4
)

// Ready makes a form ready for a set. Without it, where a sum of it could leave int32
// and where the system lends no tiles, AMX does as AVX512 does. Weights and biases
// stay as they are from here on.
func (f *Form) Ready(set Set) {
	if set != AMX {
		return
	}
	if own := f.tile(); own != nil && C.fa_kernel_ask_for_tiles() == 1 {
		f.tiles = own
	}
}

// tile turns a form into digits; nil if a sum of theirs could leave int32.
func (f *Form) tile() *tiles {
	own := &tiles{bias: make([]int32, len(f.Bias))}
	for i, v := range f.Bias {
		own.bias[i] = int32(centred(int64(v), int64(f.Primes[i/f.Rows%len(f.Primes)])))
	}
	most := min(f.Features, tileFeatures)
	depth := (f.Features + tileFeatures - 1) / tileFeatures
	count := (f.Rows + tileForms - 1) / tileForms
	own.digits = make([]int8, len(f.Primes)*count*depth*tileForms*powers*most*4)
	for l, q := range f.Primes {
		for j := range f.Rows {
			var bounds [powers]bounds
			for i := range f.Features {
				tile, column := i/tileFeatures, i%tileFeatures
				if tile == depth-1 { // it ends with the last feature
					column = i - (f.Features - most)
				}
				at := ((((l*count+j/tileForms)*depth+tile)*tileForms+j%tileForms)*powers*most + column) * 4
				for b := range 4 {
					w := centred(int64(f.Weights[i*f.Rows+j])<<(8*b), int64(q))
					for power := range powers {
						digit := int8(w)
						w = (w - int64(digit)) >> 8
						own.digits[at+power*most*4+b] = digit
						bounds[power].add(int64(digit), b)
					}
				}
			}
			if !fit(bounds, q) {
				return nil
			}
		}
	}
	return own
}

// bounds are those of a sum of digits, times bytes of residues below 2^30.
type bounds struct{ least, most int64 }

func (b *bounds) add(digit int64, byteOf int) {
	largest := int64(math.MaxUint8)
	if byteOf == 3 {
		largest = math.MaxUint8 >> 2
	}
	b.least += min(0, digit*largest)
	b.most += max(0, digit*largest)
}

// fit tells whether the words that a kernel makes of four sums, two of them each and
// a bias or the upper half of the other word, are int32.
func fit(of [powers]bounds, q float64) bool {
	within := func(low, high bounds, more int64) bool {
		return low.least+256*high.least-more >= math.MinInt32 && low.most+256*high.most+more <= math.MaxInt32
	}
	return within(of[0], of[1], int64(q/2)+1) && within(of[2], of[3], 1<<15)
}

// centred is v mod q with at most q / 2 of magnitude.
func centred(v, q int64) int64 {
	v %= q
	switch {
	case 2*v > q:
		return v - q
	case 2*v < -q:
		return v + q
	}
	return v
}

func (t *tiles) linear(f *Form, x []uint32, y []int32) {
	C.fa_kernel_tiled_linear(C.int(len(f.Primes)), C.int(f.Points), C.int(f.Features), C.int(f.Rows), t.pointer(),
		doubles(f.Primes), (*C.int32_t)(&t.bias[0]), (*C.uint32_t)(&x[0]), (*C.int32_t)(&y[0]))
}

func (t *tiles) quadratic(f *Form, fixed []int32, c0 []uint32, out Answer) bool {
	return C.fa_kernel_tiled_quadratic(C.int(len(f.Primes)), C.int(f.Points), C.int(f.Features), C.int(f.Rows),
		t.pointer(), doubles(f.Primes), (*C.int32_t)(&t.bias[0]), (*C.int32_t)(&fixed[0]), (*C.uint32_t)(&c0[0]),
		(*C.uint32_t)(&out.S1[0]), (*C.uint32_t)(&out.S2[0]), (*C.uint32_t)(&out.U[0]), (*C.uint32_t)(&out.T1[0])) == 1
}

func (t *tiles) pointer() *C.int8_t { return (*C.int8_t)(&t.digits[0]) }

package kernel

// #include "readings.h"
import "C"

import "math"

// Scale is how raw readings become those of a circuit: whole steps of Width / Grid
// from Center, times Unit. A width of +Inf is that of a feature without weight.
//
// Shapes: Center, Width and Unit [features].
type Scale struct {
	Center, Width, Unit []float64
	Grid, Usual         float64
}

// Standardise scales rows [event][feature] into out of the same shape. far [event]
// is 1 where a reading is missing or farther than Usual widths from its centre; out
// has no meaning there.
func (s *Scale) Standardise(set Set, rows, out []float64, far []byte) {
	features := len(s.Center)
	if set != Portable {
		C.fa_readings_standardise(C.int(set), C.long(len(far)), C.long(features), doubles(rows), doubles(s.Center),
			doubles(s.Width), doubles(s.Unit), C.double(s.Grid), C.double(s.Usual), doubles(out), (*C.uint8_t)(&far[0]))
		return
	}
	for e := range far {
		var beyond byte
		from, to := rows[e*features:(e+1)*features], out[e*features:(e+1)*features]
		for j, x := range from {
			z := (x - s.Center[j]) / s.Width[j]
			if !(math.Abs(z) <= s.Usual) {
				beyond = 1
			}
			to[j] = math.RoundToEven(z*s.Grid) * s.Unit[j]
		}
		far[e] = beyond
	}
}

// Within tells whether no reading is missing, infinite or farther than most from 0.
func Within(set Set, x []float64, most float64) bool {
	if set != Portable {
		return C.fa_readings_within(C.int(set), C.long(len(x)), doubles(x), C.double(most)) == 1
	}
	within := true
	for _, v := range x {
		within = within && math.Abs(v) <= most
	}
	return within
}

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// strange readings: what rounds either way, overflows, is missing, or has no weight.
var strange = []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, 5, -5,
	math.Nextafter(5, 6), 0.5 / 256, 1.5 / 256, -2.5 / 256, math.Copysign(0, -1), math.SmallestNonzeroFloat64}

func TestReadingsOfAllSetsAreEqual(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, features := range []int{1, 2, 3, 4, 7, 8, 16, 30, 33} {
		const events = 200
		s := Scale{make([]float64, features), make([]float64, features), make([]float64, features), 256, 5}
		for j := range features {
			s.Center[j], s.Width[j], s.Unit[j] = random.NormFloat64(), random.ExpFloat64(), math.Ldexp(1, -random.IntN(12))
			if j%5 == 4 {
				s.Width[j] = math.Inf(1)
			}
			if j%5 == 0 {
				s.Center[j], s.Width[j] = 0, 1
			}
		}
		rows := make([]float64, events*features)
		for i := range rows {
			rows[i] = 3 * random.NormFloat64()
			if random.IntN(10*features) == 0 {
				rows[i] = strange[random.IntN(len(strange))]
			}
		}
		wanted, marks := make([]float64, len(rows)), make([]byte, events)
		s.Standardise(Portable, rows, wanted, marks)
		for e, mark := range marks {
			var beyond byte
			for j := range features {
				if z := (rows[e*features+j] - s.Center[j]) / s.Width[j]; math.IsNaN(z) || math.Abs(z) > 5 {
					beyond = 1
				}
			}
			if mark != beyond {
				t.Fatalf("event %d: %v is marked %d", e, rows[e*features:(e+1)*features], mark)
			}
		}
		for _, set := range sets() {
			out, far := make([]float64, len(rows)), make([]byte, events)
			s.Standardise(set, rows, out, far)
			for i := range out {
				e := i / features
				if far[e] != marks[e] || far[e] == 0 && math.Float64bits(out[i]) != math.Float64bits(wanted[i]) {
					t.Fatalf("%v, %d features: %v becomes %v, not %v", set, features, rows[i], out[i], wanted[i])
				}
			}
		}
	}
}

func TestOneReadingThatIsNotWithinIsSeen(t *testing.T) {
	for _, set := range sets() {
		for _, n := range []int{1, 2, 7, 8, 31, 120} {
			x := make([]float64, n)
			for i := range x {
				x[i] = 64 - 128*float64(i%2)
			}
			if !Within(set, x, 64) {
				t.Fatalf("%v: %d readings of 64 are refused", set, n)
			}
			for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Nextafter(64, 65), -math.MaxFloat64} {
				for i := range x {
					was := x[i]
					x[i] = v
					if Within(set, x, 64) {
						t.Fatalf("%v: %v at %d of %d is not seen", set, v, i, n)
					}
					x[i] = was
				}
			}
		}
	}
}

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// tiled is a form all of whose weights are one.
func tiled(features int, weight float64) *Form {
	f := &Form{Points: 64, Features: features, Rows: 1, Primes: primes, Weights: make([]float64, features)}
	for i := range f.Weights {
		f.Weights[i] = weight
	}
	f.Bias = f.Origins()
	for i := range f.Bias {
		f.Bias[i] += math.Floor(primes[i%len(primes)] / 2)
	}
	f.Ready(AMX)
	return f
}

// largest returns the most features, up to 500, with which a form of one weight is
// tiled.
func largest(weight float64) int {
	features := 1
	for features < 500 && tiled(features+1, weight).tiles != nil {
		features++
	}
	return features
}

// extremes are residues that make the sums of one power of 256 as large, or as small,
// as any do: bytes are 255 where a digit has that sign.
func extremes(f *Form, power int, sign int64) []uint32 {
	x := make([]uint32, len(f.Primes)*f.Points*f.Features)
	for l, q := range f.Primes {
		for i := range f.Features {
			var v uint32
			for b := range 4 {
				w := centred(int64(f.Weights[i])<<(8*b), int64(q))
				var digit int64
				for range power + 1 {
					digit = int64(int8(w))
					w = (w - digit) >> 8
				}
				if digit*sign > 0 {
					v |= 255 << (8 * b)
				}
			}
			for p := range f.Points {
				x[((l*f.Points/Block+p/Block)*f.Features+i)*Block+p%Block] = min(v&(1<<30-1), uint32(q)-1)
			}
		}
	}
	return x
}

func TestTilesHoldTheLargestSums(t *testing.T) {
	if Best() < AMX {
		t.Skip("this processor has no tiles")
	}
	random := rand.New(rand.NewPCG(7, 1))
	for range 20 {
		weight := float64(1+random.IntN(1<<12)) * float64(1-2*random.IntN(2))
		f := tiled(largest(weight), weight)
		for power := range powers {
			for _, sign := range []int64{-1, 1} {
				x, y := extremes(f, power, sign), make([]int32, len(primes)*f.Points)
				f.Linear(AMX, x, true, y)
				for l, q := range primes {
					for p := range f.Points {
						got := int64(y[l*f.Points+p])
						if float64(max(got, -got)) > .516*q {
							t.Fatalf("%d features of %v: %d is more than half a prime", f.Features, weight, got)
						}
						if want := f.product(x, l, p, 0, true); (got+int64(q))%int64(q) != want {
							t.Fatalf("%d features of %v: %d, not %d", f.Features, weight, got, want)
						}
					}
				}
			}
		}
	}
}

func TestFormsWhoseSumsAreTooLargeAreNotTiled(t *testing.T) {
	if Best() < AMX {
		t.Skip("this processor has no tiles")
	}
	const weight = 100
	f := tiled(largest(weight)+1, weight)
	if f.tiles != nil || f.Features > 500 {
		t.Fatalf("%d features are tiled", f.Features)
	}
	x, y := residues(rand.New(rand.NewPCG(8, 1)), f.Points*f.Features), make([]int32, len(primes)*f.Points)
	f.Linear(AMX, x, true, y)
	for l, q := range primes {
		for p := range f.Points {
			if want := f.product(x, l, p, 0, true); (int64(y[l*f.Points+p])+int64(q))%int64(q) != want {
				t.Fatal("wrong")
			}
		}
	}
}

func TestUsualFormsAreTiled(t *testing.T) {
	if Best() < AMX {
		t.Skip("this processor has no tiles")
	}
	random := rand.New(rand.NewPCG(9, 1))
	for _, shape := range [][2]int{{1, 1}, {15, 5}, {16, 4}, {17, 13}, {30, 10}, {30, 30}, {100, 20}} {
		if f := form(random, shape[0], shape[1]); f.tiles == nil {
			t.Errorf("%d features and %d rows are not", shape[0], shape[1])
		}
	}
}

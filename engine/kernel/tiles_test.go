package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// alike is a form of one row, all of whose weights are one.
func alike(features int, weight float64) *Form {
	f := &Form{Points: 64, Features: features, Rows: 1, Primes: primes, Weights: make([]float64, features)}
	for i := range f.Weights {
		f.Weights[i] = weight
	}
	f.Bias = f.Origins()
	for i := range f.Bias {
		f.Bias[i] += math.Floor(primes[i%len(primes)] / 2)
	}
	return f
}

// largest returns the most features, up to 500, with which such a form is tiled.
func largest(weight float64) int {
	features := 1
	for features < 500 && alike(features+1, weight).tile() != nil {
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

// sums does what tiles do: those of the powers of one form at one point.
func (t *tiles) sums(f *Form, x []uint32, limb, point, row int) (out [powers]int64) {
	most := min(f.Features, tileFeatures)
	depth, count := (f.Features+tileFeatures-1)/tileFeatures, (f.Rows+tileForms-1)/tileForms
	for tile := range depth {
		first := tile * tileFeatures
		if tile == depth-1 {
			first = f.Features - most
		}
		digits := t.digits[((limb*count+row/tileForms)*depth+tile)*tileForms*powers*most*4:]
		for power := range powers {
			for i := range most {
				v := x[((limb*f.Points/Block+point/Block)*f.Features+first+i)*Block+point%Block]
				for b := range 4 {
					digit := digits[((row%tileForms*powers+power)*most+i)*4+b]
					out[power] += int64(digit) * int64(v>>(8*b)&255)
				}
			}
		}
	}
	return
}

func TestDigitsAddUpToTheForm(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 1))
	for _, shape := range [][2]int{{1, 1}, {15, 5}, {16, 4}, {17, 13}, {30, 10}, {100, 20}} {
		f := form(random, shape[0], shape[1])
		own, x := f.tile(), residues(random, f.Points*f.Features)
		if own == nil {
			t.Fatalf("%v is not tiled", shape)
		}
		for l, q := range primes {
			for p := range f.Points {
				for j := range f.Rows {
					half := 0
					if p >= f.Points/2 {
						half = len(primes)
					}
					sum := int64(own.bias[(half+l)*f.Rows+j])
					for power, part := range own.sums(f, x, l, p, j) {
						sum += part << (8 * power)
					}
					if want := f.product(x, l, p, j, true); (sum-want)%int64(q) != 0 {
						t.Fatalf("%v: row %d at %d is %d, not %d", shape, j, p, sum, want)
					}
				}
			}
		}
	}
}

func TestTilesHoldTheLargestSums(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 1))
	for range 20 {
		weight := float64(1+random.IntN(1<<12)) * float64(1-2*random.IntN(2))
		f := alike(largest(weight), weight)
		f.Ready(Best())
		own := f.tile()
		for power := range powers {
			for _, sign := range []int64{-1, 1} {
				x, y := extremes(f, power, sign), make([]int32, len(primes)*f.Points)
				f.Linear(Best(), x, true, y)
				for l, q := range primes {
					sums := own.sums(f, x, l, 0, 0)
					low, high := sums[0]+256*sums[1]+int64(own.bias[l]), sums[2]+256*sums[3]
					for _, word := range []int64{low, high, high + low>>16} {
						if int64(int32(word)) != word {
							t.Fatalf("%d features of %v: %d is no int32", f.Features, weight, word)
						}
					}
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
	const weight = 100
	f := alike(largest(weight)+1, weight)
	if f.Ready(Best()); f.tiles != nil || f.Features > 500 {
		t.Fatalf("%d features are tiled", f.Features)
	}
	x, y := residues(rand.New(rand.NewPCG(9, 1)), f.Points*f.Features), make([]int32, len(primes)*f.Points)
	f.Linear(Best(), x, true, y)
	for l, q := range primes {
		for p := range f.Points {
			if want := f.product(x, l, p, 0, true); (int64(y[l*f.Points+p])+int64(q))%int64(q) != want {
				t.Fatal("wrong")
			}
		}
	}
}

func TestFormsAreTiledWhereTheProcessorHasTiles(t *testing.T) {
	if f := form(rand.New(rand.NewPCG(10, 1)), 30, 10); (f.tiles != nil) != (Best() == AMX) {
		t.Fatal(Best())
	}
}

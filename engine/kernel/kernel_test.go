package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var primes = []float64{1073692673, 1073668097, 1073651713}

func sets() (all []Set) {
	for set := range Best() + 1 {
		all = append(all, set)
	}
	return
}

// form draws a form whose rows come as close to the exact bound as they may.
func form(random *rand.Rand, features, rows int) *Form {
	f := &Form{Points: 64, Features: features, Rows: rows, Primes: primes,
		Weights: make([]float64, features*rows), Bias: make([]float64, 2*len(primes)*rows)}
	most := (1<<21 - 2) / features
	for i := range f.Weights {
		f.Weights[i] = float64(random.IntN(2*most+1) - most)
		if random.IntN(4) == 0 {
			f.Weights[i] = float64(most * (1 - 2*random.IntN(2)))
		}
	}
	for i := range f.Bias {
		q := primes[i/rows%len(primes)]
		f.Bias[i] = Origin(q) + float64(random.Int64N(int64(q)))
	}
	f.Ready(Best())
	return f
}

// residues draws some at random, some 0, 1, q - 1 and the middle.
func residues(random *rand.Rand, perPrime int) []uint32 {
	out := make([]uint32, 0, len(primes)*perPrime)
	for _, q := range primes {
		prime := uint32(q)
		extreme := []uint32{0, 1, prime - 1, prime / 2, prime/2 + 1}
		for range perPrime {
			v := random.Uint32N(prime)
			if random.IntN(3) == 0 {
				v = extreme[random.IntN(len(extreme))]
			}
			out = append(out, v)
		}
	}
	return out
}

// product is W x + bias in [0, q), with integers that cannot overflow.
func (f *Form) product(x []uint32, limb, point, row int, biased bool) int64 {
	q := int64(f.Primes[limb])
	var sum int64
	if biased {
		half := 0
		if point >= f.Points/2 {
			half = len(f.Primes)
		}
		sum = int64(f.Bias[(half+limb)*f.Rows+row])
	}
	for i := range f.Features {
		v := int64(x[((limb*f.Points/Block+point/Block)*f.Features+i)*Block+point%Block])
		sum = (sum + int64(f.Weights[i*f.Rows+row])*v%q) % q
	}
	return (sum + q) % q
}

func TestLinearIsTheMatrixProduct(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for _, shape := range [][2]int{{1, 1}, {2, 9}, {30, 10}, {7, 31}, {100, 20}, {3, 64}} {
		f := form(random, shape[0], shape[1])
		x := residues(random, f.Points*f.Features)
		for _, set := range sets() {
			most := .5 + 1e-8
			if set == AMX {
				most = .516
			}
			for _, biased := range []bool{false, true} {
				y := make([]int32, len(primes)*f.Points*f.Rows)
				f.Linear(set, x, biased, y)
				for l, q := range primes {
					for p := range f.Points {
						for j := range f.Rows {
							got := int64(y[((l*f.Points/Block+p/Block)*f.Rows+j)*Block+p%Block])
							if float64(max(got, -got)) > most*q {
								t.Fatalf("%v: %d is more than half a prime", set, got)
							}
							if want := f.product(x, l, p, j, biased); (got+int64(q))%int64(q) != want {
								t.Fatalf("%v %v: row %d at %d is %d, not %d", set, shape, j, p, got, want)
							}
						}
					}
				}
			}
		}
	}
}

func TestQuadraticIsTheSumOfProducts(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 1))
	for _, shape := range [][2]int{{1, 1}, {5, 2}, {30, 10}, {3, 29}, {3, 30}, {4, 31}, {6, 61}, {2, 97}} {
		f := form(random, shape[0], shape[1])
		a, c0 := residues(random, f.Points*f.Features), residues(random, f.Points*f.Features)
		fixed := make([]int32, len(primes)*f.Points*f.Rows)
		f.Linear(Portable, a, false, fixed)
		f.Mirror(fixed)
		for _, set := range sets() {
			got := answer(f.Points)
			if !f.Quadratic(set, fixed, c0, got) {
				t.Fatalf("%v %v: refused", set, shape)
			}
			for l, q := range primes {
				prime := int64(q)
				for p := range f.Points {
					var s1, s2, u, t1 int64
					for j := range f.Rows {
						y, ym := f.product(c0, l, p, j, true), f.product(c0, l, f.Points-1-p, j, true)
						z, zm := f.product(a, l, p, j, false), f.product(a, l, f.Points-1-p, j, false)
						s1, s2, u, t1 = (s1+y*y)%prime, (s2+y*z)%prime, (u+y*zm)%prime, (t1+y*ym)%prime
					}
					at := l*f.Points + p
					same := int64(got.S1[at]) == s1 && int64(got.S2[at]) == s2 && int64(got.U[at]) == u
					if p < f.Points/2 {
						same = same && int64(got.T1[l*f.Points/2+p]) == t1
					}
					if !same {
						t.Fatalf("%v %v: wrong at prime %d, point %d", set, shape, l, p)
					}
				}
			}
		}
	}
}

func answer(points int) Answer {
	words := func(n int) []uint32 {
		out := make([]uint32, n)
		for i := range out {
			out[i] = 1<<32 - 1 // what was there before must not count
		}
		return out
	}
	all := len(primes) * points
	return Answer{words(all), words(all), words(all), words(all / 2)}
}

func TestBelowSeesOneResidueTooLarge(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	x := residues(random, 33)
	if !Below(primes, x) {
		t.Fatal("refused residues below their primes")
	}
	for at := range x {
		kept := x[at]
		for _, v := range []uint32{uint32(primes[at/33]), 1<<32 - 1} {
			if x[at] = v; Below(primes, x) {
				t.Fatalf("accepted %d at %d", v, at)
			}
		}
		x[at] = kept
	}
}

func TestQuadraticSeesOneResidueTooLarge(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 1))
	f := form(random, 3, 2)
	c0, fixed := residues(random, f.Points*f.Features), make([]int32, len(primes)*f.Points*f.Rows)
	for _, set := range sets() {
		for at := range c0 {
			kept := c0[at]
			for _, v := range []uint32{uint32(primes[at/(f.Points*f.Features)]), 1<<32 - 1} {
				if c0[at] = v; f.Quadratic(set, fixed, c0, answer(f.Points)) {
					t.Fatalf("%v: accepted %d at %d", set, v, at)
				}
			}
			c0[at] = kept
		}
	}
}

func BenchmarkQuadratic(b *testing.B) {
	random := rand.New(rand.NewPCG(4, 1))
	for _, shape := range [][2]int{{30, 10}, {30, 30}, {100, 20}} {
		f := form(random, shape[0], shape[1])
		f.Points = 4096
		c0 := residues(random, f.Points*f.Features)
		fixed := make([]int32, len(primes)*f.Points*f.Rows)
		f.Linear(Portable, c0, false, fixed)
		for _, set := range sets() {
			b.Run(fmt.Sprintf("d=%d/k=%d/%v", shape[0], shape[1], set), func(b *testing.B) {
				out := answer(f.Points)
				for b.Loop() {
					f.Quadratic(set, fixed, c0, out)
				}
				b.ReportMetric(float64(b.N)*4096/b.Elapsed().Seconds()/1e6, "Mevents/s")
			})
		}
	}
}

// BenchmarkLinear holds the best run against the best of the peak: what other
// processes take of a core would count against one of them only.
func BenchmarkLinear(b *testing.B) {
	random := rand.New(rand.NewPCG(5, 1))
	f := form(random, 30, 10)
	f.Points = 4096
	c0, y := residues(random, f.Points*f.Features), make([]int32, len(primes)*f.Points*f.Rows)
	for _, set := range sets() {
		b.Run(set.String(), func(b *testing.B) {
			best, peak := time.Hour, Peak(set)
			for b.Loop() {
				start := time.Now()
				f.Linear(set, c0, true, y)
				best = min(best, time.Since(start))
			}
			rate := float64(len(y)*f.Features) / best.Seconds() / 1e9
			b.ReportMetric(rate, "GFMA/s")
			if peak = max(peak, Peak(set)); peak > 0 {
				b.ReportMetric(100*rate/peak, "%peak")
			}
		})
	}
}

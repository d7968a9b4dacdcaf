package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tuneinsight/lattigo/v6/ring"
)

// rings calls a test with every kernel's ring of some numbers of points and primes.
func rings(t *testing.T, test func(theirs *ring.Ring, ours *Ring)) {
	for _, set := range sets()[1:] {
		for _, shape := range [][2]int{{4096, 2}, {4096, 3}, {8192, 6}, {8192, 3}} {
			theirs, ours := lattigo(t, set, shape[0], shape[1])
			test(theirs, ours)
			if t.Failed() {
				t.Fatalf("%v, %v", set, shape)
			}
		}
	}
}

// extremes draws words of every prime, [limb][n], many of them the least and largest.
func (r *Ring) extremes(random *rand.Rand, n int) []uint32 {
	out := make([]uint32, 0, len(r.primes)*n)
	for _, q := range r.primes {
		for range n {
			out = append(out, []uint32{0, 1, q - 1, q / 2, random.Uint32N(q), random.Uint32N(q)}[random.IntN(6)])
		}
	}
	return out
}

// secret draws one, in quotients too: they may be 1 too small.
func (r *Ring) secret(random *rand.Rand) *Secret {
	s := r.NewSecret()
	residues := r.extremes(random, r.points)
	for l := range r.primes {
		s.Set(r, l, residues[l*r.points:(l+1)*r.points])
	}
	for i, v := range s.Quotients {
		if v > 0 && random.IntN(2) == 0 {
			q := uint64(r.primes[i/r.points])
			s.Quotients[i] = uint32(uint64(s.Residues[i])<<32/q) - 1
		}
	}
	return s
}

func TestAddProductIsXPlusYS(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 4))
	rings(t, func(_ *ring.Ring, r *Ring) {
		x, y, s := r.extremes(random, r.points), r.extremes(random, r.points), r.secret(random)
		want := make([]uint32, len(x))
		for i := range want {
			want[i] = uint32((uint64(x[i]) + uint64(y[i])*uint64(s.Residues[i])) % uint64(r.primes[i/r.points]))
		}
		out := make([]uint32, len(x))
		r.AddProduct(x, y, s, out)
		ofX, ofY := slices.Clone(x), slices.Clone(y)
		r.AddProduct(ofX, y, s, ofX)
		r.AddProduct(x, ofY, s, ofY)
		if !slices.Equal(out, want) || !slices.Equal(ofX, want) || !slices.Equal(ofY, want) {
			t.Error("other residues")
		}
	})
}

func TestOpenQuadraticIsTheSquares(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 4))
	rings(t, func(theirs *ring.Ring, r *Ring) {
		n, all := r.points, len(r.roots)
		s := r.secret(random)
		s1, s2, s3, u := r.extremes(random, n), r.extremes(random, n), r.extremes(random, n), r.extremes(random, n)
		t1, t3 := r.extremes(random, n/2), r.extremes(random, n/2)
		out := make([]uint32, all)
		r.OpenQuadratic(slices.Concat(s1, s2, u, t1), slices.Concat(s3, t3), s, out)
		i := theirs.NewPoly() // X^(N/2)
		for l := range i.Coeffs {
			i.Coeffs[l][n/2] = 1
		}
		theirs.NTT(i, i)
		for at, got := range out {
			l, p := at/n, at%n
			q, mirror, first := uint64(r.primes[l]), l*n+n-1-p, l*n/2+min(p, n-1-p)
			word := func(x []uint32, at int) uint64 { return uint64(x[at]) }
			form := func(a, b, c, v, w uint64) uint64 { return (a + b*v%q + c*w%q*v%q) % q }
			v, w := word(s.Residues, at), word(s.Residues, mirror)
			g := form(word(s1, at), 2*word(s2, at), word(s3, at), v, v) + form(word(s1, mirror), 2*word(s2, mirror), word(s3, mirror), w, w)
			low, high := at, mirror
			if p >= n/2 {
				low, high, v, w = mirror, at, w, v
			}
			c := (form(word(t1, first), word(u, high), word(t3, first), v, w) + word(u, low)*w) % q
			turn := i.Coeffs[l][p]
			want := (g%q*(q+1-turn) + 2*c*(1+turn)) % q
			if uint64(got) >= 2*q || uint64(got)%q != want {
				t.Fatalf("%d at prime %d, point %d, not %d", got, l, p, want)
			}
		}
	})
}

// rounded is x as a float64, each 64 bits of it rounded on their own.
func rounded(x *big.Int) (v float64) {
	rest := new(big.Int).Abs(x)
	for unit := 1.0; rest.BitLen() > 0; unit *= 0x1p64 {
		word := new(big.Int).And(rest, new(big.Int).SetUint64(math.MaxUint64)).Uint64()
		v = float64(word)*unit + v
		rest.Rsh(rest, 64)
	}
	if x.Sign() < 0 {
		return -v
	}
	return
}

func TestCoefficientsAreTheNumbersOfTheResidues(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	rings(t, func(theirs *ring.Ring, r *Ring) {
		half := new(big.Int).Rsh(theirs.Modulus(), 1)
		half.Sub(half, new(big.Int).Rsh(half, 40)) // nearer to it, the quotient is a matter of rounding
		for _, most := range []int{half.BitLen(), 40, 0} {
			want, poly := make([]*big.Int, r.points), theirs.NewPoly()
			for n := range want {
				x := new(big.Int).Set(half)
				if x.Rsh(x, uint(half.BitLen()-most)); random.IntN(4) > 0 && most > 0 {
					x.Rsh(x, uint(random.IntN(most))).Sub(x, big.NewInt(random.Int64N(3)))
				}
				if random.IntN(16) == 0 { // a negative one whose lowest words are 0 carries
					x.And(x.Abs(x), new(big.Int).Lsh(big.NewInt(-1), uint(64*random.IntN(3))))
				}
				if random.IntN(2) == 0 {
					x.Neg(x)
				}
				want[n] = x
				for l, q := range r.primes {
					poly.Coeffs[l][n] = new(big.Int).Mod(x, big.NewInt(int64(q))).Uint64()
				}
			}
			theirs.NTT(poly, poly)
			words, values := make([]uint32, len(r.roots)), make([]float64, r.points)
			for i := range words {
				l := i / r.points
				words[i] = uint32(poly.Coeffs[l][i%r.points]) + r.primes[l]*random.Uint32N(2)
			}
			const unit = 0x1p-23
			largest, found := r.Coefficients(words, unit, values), 0.0
			for n, x := range want {
				v := rounded(x) * unit
				if found = max(found, math.Abs(v)); math.Float64bits(v) != math.Float64bits(values[n]) {
					t.Fatalf("coefficient %d is %v, not %v", n, values[n], v)
				}
			}
			if largest != found {
				t.Fatalf("the largest is %v, not %v", largest, found)
			}
		}
	})
}

func TestSumsOfDigitsFitAWord(t *testing.T) {
	rings(t, func(_ *ring.Ring, r *Ring) {
		for d := range r.primes {
			sum := new(big.Int).Lsh(big.NewInt(1), 32) // a carry
			add := func(x, y uint64) {
				product := new(big.Int).SetUint64(x)
				sum.Add(sum, product.Mul(product, new(big.Int).SetUint64(y)))
			}
			for l, q := range r.primes {
				add(uint64(q)-1, uint64(r.back.crt.digits[l][d]))
			}
			if add(uint64(len(r.primes)), uint64(r.back.crt.digits[len(r.primes)][d])); sum.BitLen() > 64 {
				t.Errorf("digit %d may become %v", d, sum)
			}
		}
	})
}

// forward is the FFT as it is defined, stage by stage, of values in bit-reversed order.
func forward(z, turns []complex128) {
	for h := 1; h < len(z); h *= 2 {
		for i := 0; i < len(z); i += 2 * h {
			for j := range h {
				a, b := z[i+j], z[i+j+h]*complex(real(turns[h+j]), -imag(turns[h+j]))
				z[i+j], z[i+j+h] = a+b, a-b
			}
		}
	}
}

func TestSlotsAreTheFFT(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	rings(t, func(_ *ring.Ring, r *Ring) {
		slots := r.points / 2
		for _, events := range []int{1, slots - 1, slots, slots + 1, slots + 777, r.points} {
			values, z := make([]float64, r.points), make([]complex128, slots)
			for i := range values {
				values[i] = []float64{0, 1, -1, random.NormFloat64(), 1e9 * random.NormFloat64()}[random.IntN(5)]
			}
			for i := range z {
				at := r.order[i]
				z[i] = complex(values[at], values[int(at)+slots])
			}
			forward(z, r.turns)
			all := make([]float64, r.points)
			for i, v := range z {
				all[i], all[i+slots] = real(v), imag(v)
			}
			for _, paired := range []bool{true, false} {
				scores := make([]float64, events+1)
				scores[events] = 5 // not its own
				least := r.Slots(paired, slices.Clone(values), scores[:events])
				for i, v := range scores[:events] {
					if math.Float64bits(v) != math.Float64bits(all[i]) {
						t.Fatalf("score %d of %d is %v, not %v", i, events, v, all[i])
					}
				}
				counted := all
				if !paired {
					counted = all[:slots]
				}
				if least != slices.Min(counted) || scores[events] != 5 {
					t.Fatalf("%d events: the least is %v, not %v, or what lies behind was written", events, least, slices.Min(counted))
				}
			}
		}
	})
}

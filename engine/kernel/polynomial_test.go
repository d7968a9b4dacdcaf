package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// shape of a polynomial; band is how many hidden forms a row mixes.
type shape struct {
	features, hidden, plain, band int
	ofForms                       bool
}

func (s shape) rows() int {
	if s.ofForms {
		return s.hidden
	}
	return s.features
}

// polynomial draws one whose rows come as close to the exact bound as they may.
func polynomial(random *rand.Rand, s shape, points int) (*Polynomial, *Fixed) {
	p := &Polynomial{Forms: *form(random, s.features, s.hidden), OfForms: s.ofForms, Rows: s.rows()}
	if s.plain > 0 {
		p.Plain = *form(random, s.features, s.plain)
	}
	p.Forms.Points, p.Plain.Points = points, points
	most := (1<<21 - 2) / (s.band + 1)
	p.Mix, p.Span = make([]float64, s.hidden*p.Rows), make([]int32, 2*p.Rows)
	for i := range p.Rows {
		p.Direct = append(p.Direct, float64(most*(1-2*random.IntN(2))))
		first := min(i, s.hidden-s.band)
		p.Span[2*i], p.Span[2*i+1] = int32(first), int32(first+s.band)
		for j := first; j < first+s.band; j++ {
			p.Mix[j*p.Rows+i] = float64(random.IntN(2*most+1) - most)
		}
	}
	draw := func(perPrime int) (out []int32) {
		for i, v := range residues(random, perPrime) {
			q := int32(primes[i/perPrime])
			if int32(v) > q/2 {
				out = append(out, int32(v)-q)
			} else {
				out = append(out, int32(v))
			}
		}
		return
	}
	for i, v := range residues(random, p.Rows) {
		p.Shift = append(p.Shift, Origin(primes[i/p.Rows])+float64(v))
	}
	for _, v := range draw(5) {
		p.Factors = append(p.Factors, float64(v))
	}
	rows1 := make([]int32, 0, len(primes)*points*p.Rows)
	for _, v := range residues(random, points*p.Rows) {
		rows1 = append(rows1, int32(v))
	}
	return p, &Fixed{draw(points * s.hidden), rows1, draw(points * p.Rows), draw(points * s.plain), draw(points)}
}

// naive is what one point of one prime gives, reduced after every product.
func (p *Polynomial) naive(fixed *Fixed, c0 []uint32, l, n int) (out [4]int64) {
	q := int64(p.Forms.Primes[l])
	mod := func(v int64) int64 { return (v%q + q) % q }
	in := func(x []int32, rows, row int) int64 {
		return mod(int64(x[((l*p.Forms.Points/Block+n/Block)*rows+row)*Block+n%Block]))
	}
	f := func(k int) int64 { return mod(int64(p.Factors[5*l+k])) }
	y, u, v := make([]int64, p.Forms.Rows), make([]int64, p.Forms.Rows), make([]int64, p.Forms.Rows)
	for j := range y {
		sum := int64(p.Forms.Bias[l*p.Forms.Rows+j])
		for i := range p.Forms.Features {
			sum = mod(sum + mod(int64(p.Forms.Weights[i*p.Forms.Rows+j]))*int64(p.feature(c0, l, n, i)))
		}
		y[j], u[j], v[j] = sum, sum*sum%q*f(0)%q, sum*in(fixed.Forms, p.Forms.Rows, j)%q
	}
	for i := range p.Rows {
		t := int64(0)
		if p.OfForms {
			t = y[i]
		} else {
			t = int64(p.feature(c0, l, n, i))
		}
		r0, r1, r2 := mod(int64(p.Direct[i]))*t+mod(int64(p.Shift[l*p.Rows+i])), mod(in(fixed.Rows1, p.Rows, i)+3<<51), in(fixed.Rows2, p.Rows, i)
		for j := range y {
			w := mod(int64(p.Mix[j*p.Rows+i]))
			r0, r1 = (r0+w*u[j])%q, (r1+w*v[j])%q
		}
		out[0] = (out[0] + r0*r0%q*f(1)) % q
		out[1] = (out[1] + r0*r1%q*f(2)) % q
		out[2] = (out[2] + (r1*r1+r0*r2)%q*f(1)) % q
		out[3] = (out[3] + r1*r2%q*f(1)) % q
	}
	for k := range p.Plain.Rows {
		sum := int64(p.Plain.Bias[l*p.Plain.Rows+k])
		for i := range p.Forms.Features {
			sum = mod(sum + mod(int64(p.Plain.Weights[i*p.Plain.Rows+k]))*int64(p.feature(c0, l, n, i)))
		}
		out[0] = (out[0] + sum*sum%q*f(3)) % q
		out[1] = (out[1] + sum*in(fixed.Plain, p.Plain.Rows, k)%q*f(4)) % q
	}
	out[2] = mod(out[2] + int64(fixed.Square[l*p.Forms.Points+n]))
	return
}

func (p *Polynomial) feature(x []uint32, l, n, i int) uint32 {
	return x[((l*p.Forms.Points/Block+n/Block)*p.Forms.Features+i)*Block+n%Block]
}

func TestPolynomialIsTheSumOfSquares(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 1))
	for _, s := range []shape{{1, 1, 0, 1, false}, {30, 10, 0, 10, false}, {31, 3, 31, 3, false}, {61, 12, 2, 5, false},
		{2, 29, 7, 29, true}, {4, 30, 30, 1, true}, {3, 97, 61, 2, true}, {2, MaxHidden, 1, 1, true}} {
		p, fixed := polynomial(random, s, 64)
		c0 := residues(random, 64*s.features)
		want := make([]uint32, 4*len(primes)*64)
		for l := range primes {
			for n := range 64 {
				for k, v := range p.naive(fixed, c0, l, n) {
					want[(k*len(primes)+l)*64+n] = uint32(v)
				}
			}
		}
		for _, set := range sets() {
			got := make([]uint32, len(want))
			for i := range got {
				got[i] = 1<<32 - 1 // what was there before must not count
			}
			if fine := p.Score(set, fixed, c0, got); !fine || !slices.Equal(got, want) {
				for at := range got {
					if got[at] != want[at] {
						t.Fatalf("%v %+v: %d at %d, not %d", set, s, got[at], at, want[at])
					}
				}
			}
		}
	}
}

func TestPolynomialSeesOneResidueTooLarge(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 1))
	p, fixed := polynomial(random, shape{3, 2, 1, 2, false}, 64)
	c0, out := residues(random, 64*3), make([]uint32, 4*len(primes)*64)
	for _, set := range sets() {
		for at := range c0 {
			kept := c0[at]
			for _, v := range []uint32{uint32(primes[at/(64*3)]), 1<<32 - 1} {
				if c0[at] = v; p.Score(set, fixed, c0, out) {
					t.Fatalf("%v: accepted %d at %d", set, v, at)
				}
			}
			c0[at] = kept
		}
	}
}

func BenchmarkPolynomial(b *testing.B) {
	random := rand.New(rand.NewPCG(6, 1))
	for _, s := range []shape{{30, 10, 0, 10, false}, {30, 30, 0, 30, false}, {30, 100, 100, 1, true}} {
		// Six primes at 8,192 points are as many residues as the three of the test at 16,384.
		p, fixed := polynomial(random, s, 16384)
		c0, out := residues(random, 16384*s.features), make([]uint32, 4*len(primes)*16384)
		for _, set := range sets() {
			b.Run(fmt.Sprintf("d=%d/h=%d/k=%d/%v", s.features, s.hidden, s.plain, set), func(b *testing.B) {
				for b.Loop() {
					p.Score(set, fixed, c0, out)
				}
				b.ReportMetric(float64(b.N)*4096/b.Elapsed().Seconds()/1e6, "Mevents/s")
			})
		}
	}
}

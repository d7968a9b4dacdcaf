package scoring

import (
	"math"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/kernel"
)

// opening is the working memory of one output that is decrypted. It has held
// plaintext, so it is cleared before it is given back.
type opening struct {
	words  []uint32  // the polynomial: [limb][point]
	values []float64 // its coefficients; a kernel makes scores of them in place

	poly  ring.Poly // the portable path's
	slots []complex128
}

func (c *encryptor) newOpening() *opening {
	p := c.preset
	s := &opening{words: make([]uint32, p.limbs*p.points), values: make([]float64, p.points)}
	if c.set == kernel.Portable {
		s.poly, s.slots = p.ring.NewPoly(), make([]complex128, p.slots)
	}
	return s
}

func (s *opening) wipe() {
	clear(s.words)
	clear(s.values)
	for _, c := range s.poly.Coeffs {
		clear(c)
	}
	clear(s.slots)
}

// open writes the polynomial of an answer.
func (c *encryptor) open(kind Kind, answer, constant []uint32, secret *kernel.Secret, out []uint32) {
	switch kind {
	case Linear:
		c.addProduct(answer, constant, secret, out)
	case Quadratic:
		c.openQuadratic(answer, constant, secret, out)
	default:
		c.openPolynomial(answer, constant, secret, out)
	}
}

// times is v w mod q in [0, 3q) for a residue w of a secret and v below 2^32.
func times(v uint64, w, quotient uint32, q uint64) uint64 {
	return v*uint64(w) - v*uint64(quotient)>>32*q
}

// addProduct writes x + y s. x or y may be out.
func (c *encryptor) addProduct(x, y []uint32, secret *kernel.Secret, out []uint32) {
	if c.set != kernel.Portable {
		c.ring.AddProduct(x, y, secret, out)
		return
	}
	for l, q := range c.preset.primes {
		for n := l * c.preset.points; n < (l+1)*c.preset.points; n++ {
			v := uint64(x[n]) + times(uint64(y[n]), secret.Residues[n], secret.Quotients[n], q)
			v = min(v, v-2*q) // what wraps is larger
			out[n] = uint32(min(v, v-q))
		}
	}
}

// openPolynomial writes the score to the polynomial.
func (c *encryptor) openPolynomial(answer, fourth []uint32, secret *kernel.Secret, out []uint32) {
	all := len(out)
	for k := 3; k >= 0; k-- {
		c.addProduct(answer[k*all:(k+1)*all], fourth, secret, out)
		fourth = out
	}
}

// openQuadratic writes four times the squares: with y = x + i x', g = y^2 + conj
// and T = y conj(y), (1 - i) g + 2 (1 + i) T = 4 (x^2 + i x'^2). Conjugation is
// mirroring of points, and turns the secret s into s(1/X), which is s mirrored.
func (c *encryptor) openQuadratic(answer, constant []uint32, secret *kernel.Secret, out []uint32) {
	if c.set != kernel.Portable {
		c.ring.OpenQuadratic(answer, constant, secret, out)
		return
	}
	points, all := c.preset.points, len(out)
	s1, s2, u, t1 := answer[:all], answer[all:2*all], answer[2*all:3*all], answer[3*all:]
	s3, t3 := constant[:all], constant[all:]
	for l, q := range c.preset.primes {
		root := c.preset.root[l][0] // the same at all points of the first half
		product := func(v uint64, at int) uint64 { return times(v, secret.Residues[at], secret.Quotients[at], q) }
		square := func(at int) uint64 {
			return uint64(s1[at]) + product((product(uint64(s3[at]), at)+2*uint64(s2[at]))%q, at)
		}
		for n := range points / 2 {
			p, m, half := l*points+n, (l+1)*points-1-n, l*points/2+n
			cross := product((product(uint64(t3[half]), m)+uint64(u[m]))%q, p) + product(uint64(u[p]), m) + uint64(t1[half])
			both := square(p) + square(m)
			sum, turned := both+2*cross, root*((2*cross+8*q-both)%q)
			out[p], out[m] = uint32((sum+turned)%q), uint32((sum+q*q-turned)%q)
		}
	}
}

// coefficients writes the coefficients of the polynomial to values, as multiples of
// the scale, and returns the largest magnitude.
func (c *encryptor) coefficients(s *opening, scale float64) (largest float64) {
	if c.set != kernel.Portable {
		return c.ring.Coefficients(s.words, 1/scale, s.values)
	}
	p := c.preset
	for l, row := range s.poly.Coeffs {
		for n, v := range s.words[l*p.points : (l+1)*p.points] {
			row[n] = uint64(v)
		}
	}
	p.ring.INTT(s.poly, s.poly)
	for n := range s.values {
		s.values[n] = p.crt.centred(s.poly.Coeffs, n) / scale
		largest = max(largest, math.Abs(s.values[n]))
	}
	return
}

// scores takes the coefficients to the slots, writes as many scores as are wanted,
// and returns the least in any slot.
func (c *encryptor) scores(s *opening, scores []float64) (least float64) {
	p := c.preset
	if c.set != kernel.Portable {
		return c.ring.Slots(p.paired, s.values, scores)
	}
	for i := range s.slots {
		s.slots[i] = complex(s.values[i], s.values[i+p.slots])
	}
	p.encoder.FFT(s.slots, p.logN-1) // fails for another length only
	least = math.Inf(1)
	for i, z := range s.slots {
		if least = min(least, real(z)); p.paired {
			least = min(least, imag(z))
		}
		if i < len(scores) {
			scores[i] = real(z)
		}
		if i+p.slots < len(scores) {
			scores[i+p.slots] = imag(z)
		}
	}
	return
}

package kernel

// #include "decrypt.h"
import "C"

import "math/big"

// backward holds the tables of the inverse NTT, of the numbers that residues make,
// and of the FFT that decodes them: decrypt.h says how they lie.
type backward struct {
	roots, quotients []uint32
	crt              C.fa_crt
	cosines, sines   []float64
}

func (r *Ring) backward() backward {
	b := backward{roots: make([]uint32, len(r.roots)), quotients: make([]uint32, len(r.roots)),
		cosines: make([]float64, len(r.turns)), sines: make([]float64, len(r.turns)), crt: r.crt()}
	lanes := Lanes(r.set)
	for h := 1; h < r.points; h *= 2 {
		for i := range h {
			to := h + turned(i, lanes, r.points/(2*h))
			for at := 0; at < len(r.roots); at += r.points {
				b.roots[at+to], b.quotients[at+to] = r.roots[at+2*h-1-i], r.quotients[at+2*h-1-i]
			}
		}
	}
	for h := 1; h < len(r.turns); h *= 2 {
		for i := range h {
			to := h + turned(i, lanes/2, len(r.turns)/(2*h))
			turn := r.turns[h+int(r.order[i])*h/len(r.turns)]
			b.cosines[to], b.sines[to] = real(turn), -imag(turn)
		}
	}
	return b
}

// turned is where the i-th root of a stage lies that pairs points `apart` from each
// other.
func turned(i, lanes, apart int) int {
	if apart >= lanes {
		return i
	}
	each := lanes / (2 * apart) // roots of a vector
	square := lanes * each
	return i/square*square + i%each*lanes + i%square/each
}

func (r *Ring) crt() (c C.fa_crt) {
	product := big.NewInt(1)
	for _, q := range r.primes {
		product.Mul(product, big.NewInt(int64(q)))
	}
	digits := func(x *big.Int, to *[C.FA_LIMBS]C.uint64_t) {
		for d := range r.primes {
			word := new(big.Int).Rsh(x, uint(32*d))
			to[d] = C.uint64_t(word.And(word, big.NewInt(1<<32-1)).Uint64())
		}
	}
	for l, q := range r.primes {
		prime := big.NewInt(int64(q))
		part := new(big.Int).Div(product, prime)
		digits(part, &c.digits[l])
		// The inverse transform leaves the factor N.
		factor := part.Mul(part, big.NewInt(int64(r.points))).ModInverse(part, prime).Uint64()
		c.prime[l], c.factor[l], c.quotient[l] = C.uint64_t(q), C.uint64_t(factor), C.uint64_t(factor<<32/uint64(q))
		c.share[l] = C.double(1 / float64(q))
	}
	all := new(big.Int).Lsh(big.NewInt(1), uint(32*len(r.primes)))
	digits(all.Sub(all, product), &c.digits[len(r.primes)])
	return
}

// AddProduct writes x + y s in [0, q), for residues x and y [limb][point]. One of
// them may be out.
func (r *Ring) AddProduct(x, y []uint32, secret *Secret, out []uint32) {
	all := len(r.roots)
	C.fa_decrypt_product(C.int(r.set), C.int(len(r.primes)), C.int(r.points), words(r.primes), words(secret.Residues[:all]),
		words(secret.Quotients[:all]), words(x[:all]), words(y[:all]), words(out[:all]))
}

// OpenQuadratic writes what the answer S1, S2, U and T1 and the constant S3 and T3
// of a quadratic form are under a secret, in [0, 2q).
func (r *Ring) OpenQuadratic(answer, constant []uint32, secret *Secret, out []uint32) {
	all := len(r.roots)
	C.fa_decrypt_quadratic(C.int(r.set), C.int(len(r.primes)), C.int(r.points), words(r.primes), words(r.roots),
		words(r.quotients), words(secret.Residues[:all]), words(secret.Quotients[:all]), words(answer[:3*all+all/2]),
		words(constant[:all+all/2]), words(out[:all]))
}

// Coefficients takes a polynomial, in [0, 2q), from the points of the NTT to its
// coefficients, of least magnitude, writes them times a unit, a power of two, and
// returns the largest magnitude. The polynomial is lost.
func (r *Ring) Coefficients(x []uint32, unit float64, values []float64) float64 {
	x, values = x[:len(r.roots)], values[:r.points]
	C.fa_decrypt_inverse(C.int(r.set), C.int(len(r.primes)), C.int(r.points), words(r.primes), words(r.back.roots),
		words(r.back.quotients), words(x))
	return float64(C.fa_decrypt_join(C.int(r.set), C.int(len(r.primes)), C.int(r.points), &r.back.crt, words(x),
		C.double(unit), doubles(values)))
}

// Slots is the FFT that decodes, in place: half of the values are the real parts of
// the coefficients, the others the imaginary ones. It writes as many scores as are
// wanted and returns the least value, of imaginary parts too if paired.
//
// The scores are those of Lattigo's encoder to the last bit.
func (r *Ring) Slots(paired bool, values, scores []float64) float64 {
	both := 0
	if paired {
		both = 1
	}
	return float64(C.fa_decrypt_slots(C.int(r.set), C.int(r.points), doubles(r.back.cosines), doubles(r.back.sines),
		(*C.int32_t)(&r.order[0]), C.int(both), doubles(values[:r.points]), C.int(min(len(scores), r.points)), doubles(scores)))
}

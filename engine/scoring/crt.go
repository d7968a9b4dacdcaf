package scoring

import (
	"math"
	"math/big"
	"math/bits"

	"github.com/tuneinsight/lattigo/v6/ring"
)

// crt puts residues of up to six primes below 2^30 together, exactly.
type crt struct {
	primes  []uint64
	mred    []uint64
	inverse []uint64    // (Q / q)^-1 mod q, Montgomery form
	part    [][3]uint64 // Q / q
	share   []float64   // 1 / q
	modulus [3]uint64
}

func newCRT(r *ring.Ring) crt {
	c := crt{primes: r.ModuliChain(), modulus: words(r.Modulus())}
	for l, q := range c.primes {
		prime := new(big.Int).SetUint64(q)
		part := new(big.Int).Div(r.Modulus(), prime)
		inverse := new(big.Int).ModInverse(part, prime).Uint64()
		c.mred = append(c.mred, r.SubRings[l].MRedConstant)
		c.inverse = append(c.inverse, ring.MForm(inverse, q, r.SubRings[l].BRedConstant))
		c.part = append(c.part, words(part))
		c.share = append(c.share, 1/float64(q))
	}
	return c
}

// words cuts a number below 2^192, low word first.
func words(x *big.Int) (out [3]uint64) {
	rest, mask := new(big.Int).Set(x), new(big.Int).SetUint64(math.MaxUint64)
	for i := range out {
		out[i] = new(big.Int).And(rest, mask).Uint64()
		rest.Rsh(rest, 64)
	}
	return
}

// centred returns the integer of least magnitude whose residues are the n-th
// ones, rounded to a float64.
//
// It is sum y_j Q / q_j - k Q with y_j = r_j (Q / q_j)^-1 mod q_j, and k = round(
// sum y_j / q_j). The sum is exact, below 6 Q < 2^192; k could be wrong only where
// the result is half of Q but for 2^-50 of it, which no score may reach.
func (c *crt) centred(residues [][]uint64, n int) float64 {
	var y [6]uint64
	times := 0.5
	for l, q := range c.primes {
		y[l] = ring.MRed(residues[l][n], c.inverse[l], q, c.mred[l])
		times += float64(y[l]) * c.share[l]
	}
	if len(c.primes) == 2 { // the sum fits a word
		return float64(int64(y[0]*c.part[0][0] + y[1]*c.part[1][0] - uint64(times)*c.modulus[0]))
	}
	var sum [3]uint64
	for l := range c.primes {
		addTimes(&sum, &c.part[l], y[l])
	}
	var minus [3]uint64
	addTimes(&minus, &c.modulus, uint64(times))
	return difference(&sum, &minus)
}

// addTimes adds x y to sum, mod 2^192.
func addTimes(sum, x *[3]uint64, y uint64) {
	h0, l0 := bits.Mul64(x[0], y)
	h1, l1 := bits.Mul64(x[1], y)
	l2 := x[2] * y
	l1, carry := bits.Add64(l1, h0, 0)
	l2 += h1 + carry
	sum[0], carry = bits.Add64(sum[0], l0, 0)
	sum[1], carry = bits.Add64(sum[1], l1, carry)
	sum[2] += l2 + carry
}

// difference is a - b, of less than 2^191 in magnitude.
func difference(a, b *[3]uint64) float64 {
	d0, borrow := bits.Sub64(a[0], b[0], 0)
	d1, borrow := bits.Sub64(a[1], b[1], borrow)
	d2, _ := bits.Sub64(a[2], b[2], borrow)
	if int64(d2) >= 0 {
		return float(d0, d1, d2)
	}
	return -difference(b, a)
}

func float(w0, w1, w2 uint64) float64 {
	return math.FMA(float64(w2), 0x1p128, math.FMA(float64(w1), 0x1p64, float64(w0)))
}

// half is half of the modulus.
func (c *crt) half() float64 { return float(c.modulus[0], c.modulus[1], c.modulus[2]) / 2 }

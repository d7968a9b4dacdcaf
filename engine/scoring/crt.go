package scoring

import (
	"math"
	"math/bits"

	"github.com/tuneinsight/lattigo/v6/ring"
)

// crt puts residues of two or three primes below 2^30 together.
type crt struct {
	q0, q1, q2 uint64
	inverse01  uint64 // q0^-1 mod q1
	inverse012 uint64 // (q0 q1)^-1 mod q2
	low        uint64 // q0 q1 < 2^60
	hi, lo     uint64 // the modulus
}

func newCRT(primes []uint64) crt {
	c := crt{q0: primes[0], q1: primes[1], q2: 1, low: primes[0] * primes[1]}
	c.inverse01 = ring.ModExp(c.q0%c.q1, c.q1-2, c.q1)
	if len(primes) == 3 {
		c.q2 = primes[2]
		c.inverse012 = ring.ModExp(c.low%c.q2, c.q2-2, c.q2)
	}
	c.hi, c.lo = bits.Mul64(c.low, c.q2)
	return c
}

// centred returns the integer of least magnitude with these residues.
func (c *crt) centred(r0, r1, r2 uint64) float64 {
	v := r0 + (r1+c.q1-r0%c.q1)%c.q1*c.inverse01%c.q1*c.q0
	var hi, lo uint64 = 0, v
	if c.q2 > 1 {
		t := (r2 + c.q2 - v%c.q2) % c.q2 * c.inverse012 % c.q2
		var carry uint64
		hi, lo = bits.Mul64(t, c.low)
		lo, carry = bits.Add64(lo, v, 0)
		hi += carry
	}
	downLo, borrow := bits.Sub64(c.lo, lo, 0)
	downHi, _ := bits.Sub64(c.hi, hi, borrow)
	if downHi < hi || downHi == hi && downLo < lo {
		return -math.FMA(float64(downHi), 1<<64, float64(downLo))
	}
	return math.FMA(float64(hi), 1<<64, float64(lo))
}

// half is half of the modulus.
func (c *crt) half() float64 { return math.FMA(float64(c.hi), 1<<63, float64(c.lo)/2) }

package packed

import (
	"math/big"
	"math/bits"

	"fedanomaly/engine/stream"
)

// Config is what the members of a step agree on beforehand.
type Config struct {
	Degree    int // of the ring
	Members   int // n, the size of the roster
	Threshold int // t
	FieldBits int // b, the width of an entry of the sum
}

// HeadBits is how many bits of a field n contributions need above one value.
func (c Config) HeadBits() int { return bits.Len(uint(c.Members - 1)) }

// MaxDecryptors is |D| of a full round.
func (c Config) MaxDecryptors() int { return min(c.Members, c.Threshold+2) }

// narrowBits is the widest field that is encoded by rounded constants; a wider
// one is encoded exactly, because the rounding error is multiplied by the value.
const narrowBits = 24

// chunkBits bounds fields that are encoded together: one product instead of two.
const chunkBits = 44

func (c Config) narrow() bool { return c.FieldBits <= narrowBits }

func (c Config) chunkFields() int { return max(1, chunkBits/c.FieldBits) }

// noise are the bounds of the errors for k bits a coefficient.
//
//	e = n (21 + exactly encoded values a coefficient), f = 2^30 e
//	(e + |D| f + rounding) / q_L + (n + |D|) / 2 + 1 < Q' / (2 T)
//
// over / under is the left side. rounding is that of the constants of narrow
// fields, 2^(bits - 1) for each chunk: it is linear in the sum, so it counts
// once and says nothing that the sum does not say.
//
// 2^30: given every f but one honest one, |total| > f - e happens with
// probability 2 e / (2 f + 1), and otherwise the total is independent of e
// (uniform on an interval that does not depend on it).
type noise struct {
	e, f        uint64
	over, under *big.Int
}

func (c Config) noise(preset *Preset, k int) noise {
	fields, decryptors := k/c.FieldBits, c.MaxDecryptors()
	exactValues, rounding := 1, new(big.Int) // 1: a MAC coefficient
	if c.narrow() {
		group := c.chunkFields()
		for left := fields; left > 0; left -= group {
			rounding.Add(rounding, pow2(c.FieldBits*min(left, group)-1))
		}
	} else {
		exactValues = max(1, fields)
	}
	last := word(preset.Primes[len(preset.Primes)-1])
	var b noise
	b.e = uint64(c.Members * (stream.NoiseBound + exactValues))
	b.f = b.e << 30
	b.over = new(big.Int).Mul(word(b.f), word(uint64(decryptors)))
	b.over.Add(b.over, word(b.e)).Add(b.over, rounding).Lsh(b.over, 1)
	b.over.Add(b.over, new(big.Int).Mul(last, word(uint64(c.Members+decryptors+2))))
	b.under = new(big.Int).Lsh(last, 1)
	return b
}

// fits says whether a plaintext modulus decodes for certain.
func (b noise) fits(wire, modulus *big.Int) bool {
	left := new(big.Int).Mul(b.over, modulus)
	return left.Lsh(left, 1).Cmp(new(big.Int).Mul(b.under, wire)) < 0
}

// limit is the largest honest residual, in units of 2^-64 of a step, with 2^-10
// to spare for the decoder's own fixed point.
func (b noise) limit(wire, modulus *big.Int) uint64 {
	x := new(big.Int).Mul(b.over, modulus)
	x.Lsh(x, 64).Quo(x, new(big.Int).Mul(b.under, wire))
	return x.Uint64() + x.Uint64()>>10 + 1<<16
}

// maxBits is the largest k for which a coefficient decodes for certain; 0 if
// there is none.
func (c Config) maxBits(preset *Preset) int {
	wire := product(preset.WirePrimes())
	for k := wire.BitLen(); k > 0; k-- {
		if c.noise(preset, k).fits(wire, pow2(k)) {
			return k
		}
	}
	return 0
}

// Package packed is the arithmetic of exact integers in ring coefficients:
// presets, noise budget, encoding, decoding, the linear MAC, the wire form and
// addition. It holds no key; what needs one takes streams.
package packed

import (
	"math/big"
	"sync"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/fault"
)

// Preset is a ring with its primes. Immutable; two exist.
type Preset struct {
	N            int // ring degree: names the preset
	Primes       []uint64
	MACPrimes    []uint64 // plaintext moduli of the MAC coefficients
	MaxFieldBits int
	Ring         *ring.Ring
}

type literal struct {
	logN, maxLogQ int
	primeBits     []int // the last prime is dropped on the wire
	macPrimes     []uint64
	maxFieldBits  int
}

// maxLogQ: 128 bits against classical attacks for a ternary secret. Source:
// Bossuat et al., Security Guidelines for Implementing Homomorphic Encryption
// (2024), table 4.2.
//
// maxFieldBits: a lie that is a multiple of the MAC's prime would pass, so a
// field stays below it (TestMACNeedsNarrowFields). Two coefficients with
// independent keys at N = 4096, because 2^61 - 1 does not fit there.
var literals = map[int]literal{
	4096: {12, 106, []int{60, 46}, []uint64{1<<31 - 1, 1<<31 - 1}, 30},
	8192: {13, 214, []int{55, 55, 55, 49}, []uint64{1<<61 - 1}, 60},
}

// Degrees lists the presets, smallest first.
var Degrees = []int{4096, 8192}

var built = map[int]func() (*Preset, error){
	4096: sync.OnceValues(func() (*Preset, error) { return build(literals[4096]) }),
	8192: sync.OnceValues(func() (*Preset, error) { return build(literals[8192]) }),
}

// PresetOf returns the preset of a ring degree.
func PresetOf(degree int) (*Preset, error) {
	get, ok := built[degree]
	if !ok {
		return nil, fault.Parameters
	}
	return get()
}

// build checks a literal and makes the ring.
func build(l literal) (*Preset, error) {
	p := &Preset{N: 1 << l.logN, Primes: nttPrimes(l), MACPrimes: l.macPrimes, MaxFieldBits: l.maxFieldBits}
	if product(p.Primes).Cmp(pow2(l.maxLogQ)) >= 0 {
		return nil, fault.Parameters
	}
	var err error
	if p.Ring, err = ring.NewRing(p.N, p.Primes); err != nil {
		return nil, fault.Parameters
	}
	return p, nil
}

// nttPrimes returns the largest primes of each size that are 1 mod 2N.
func nttPrimes(l literal) (primes []uint64) {
	last := map[int]uint64{}
	for _, size := range l.primeBits {
		candidate, again := last[size]
		if !again {
			candidate = uint64(1)<<size + 1
		}
		for candidate -= 2 << l.logN; !ring.IsPrime(candidate); candidate -= 2 << l.logN {
		}
		last[size] = candidate
		primes = append(primes, candidate)
	}
	return
}

// WirePrimes are those that a message is reduced to: all but the last.
func (p *Preset) WirePrimes() []uint64 { return p.Primes[:len(p.Primes)-1] }

// montgomery is x 2^64 mod prime j.
func (p *Preset) montgomery(x *big.Int, j int) uint64 {
	q := p.Primes[j]
	return ring.MForm(new(big.Int).Mod(x, word(q)).Uint64(), q, p.Ring.SubRings[j].BRedConstant)
}

func product(primes []uint64) *big.Int {
	out := big.NewInt(1)
	for _, q := range primes {
		out.Mul(out, word(q))
	}
	return out
}

func word(x uint64) *big.Int { return new(big.Int).SetUint64(x) }

func pow2(k int) *big.Int { return new(big.Int).Lsh(big.NewInt(1), uint(k)) }

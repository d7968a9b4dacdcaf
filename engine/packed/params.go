package packed

import (
	"math/big"
	"math/bits"
	"sync"

	"fedanomaly/engine/fault"
)

// The rosters that parameters exist for.
const (
	MinMembers   = 3
	MaxMembers   = 250
	MinThreshold = 2
)

// Params is a Config with its constants. Immutable, safe for concurrent use.
type Params struct {
	Config
	*Preset
	CoefficientBits int    // k = log2 T
	Fields          int    // fields a coefficient
	ValueBits       int    // b' = b - ceil(log2 n), the width of one value
	SmudgingBound   uint64 // B

	chunk    [][]uint64 // narrow: [chunk][prime] round(Q 2^(b g chunk) / T), Montgomery form
	wide     []exact    // wide: one for each field of a coefficient
	macs     []exact
	dropInv  []uint64   // q_L^-1 mod q_j, Montgomery form
	crtInv   []uint64   // (Q'/q_j)^-1 mod q_j, Montgomery form
	inverse  [][]uint64 // 2^(64 words) / q_j, rounded
	words    int
	limit    uint64   // largest honest |residual| of a coefficient
	limitMAC []uint64 // and of each MAC coefficient
	scratch  sync.Pool
}

// exact holds a constant C of a lossless encoding: floor(C) mod q_j (Montgomery
// form) and the first 64 bits of its fraction.
type exact struct {
	base []uint64
	phi  uint64
}

var cache = struct {
	sync.Mutex
	params map[Config]*Params
}{params: map[Config]*Params{}}

// cacheSize bounds what manifests, which come from outside, can make us keep.
const cacheSize = 64

// For returns the parameters of a configuration.
func For(c Config) (*Params, error) {
	cache.Lock()
	defer cache.Unlock()
	if p, ok := cache.params[c]; ok {
		return p, nil
	}
	p, err := newParams(c)
	if err != nil {
		return nil, err
	}
	if len(cache.params) >= cacheSize {
		clear(cache.params)
	}
	cache.params[c] = p
	return p, nil
}

// newParams checks a configuration and computes its constants.
func newParams(c Config) (*Params, error) {
	preset, err := PresetOf(c.Degree)
	if err != nil {
		return nil, err
	}
	if c.Members < MinMembers || c.Members > MaxMembers || c.Threshold < MinThreshold || c.Threshold >= c.Members {
		return nil, fault.Parameters
	}
	if c.FieldBits <= c.HeadBits() || c.FieldBits > preset.MaxFieldBits {
		return nil, fault.Capacity
	}
	return derive(c, preset)
}

func derive(c Config, preset *Preset) (*Params, error) {
	p := &Params{Config: c, Preset: preset, CoefficientBits: c.maxBits(preset), ValueBits: c.FieldBits - c.HeadBits()}
	if p.Fields = p.CoefficientBits / c.FieldBits; p.Fields == 0 {
		return nil, fault.Capacity
	}
	bounds := c.noise(preset, p.CoefficientBits)
	p.SmudgingBound = bounds.f
	for _, q := range preset.Primes {
		if bounds.e >= 1<<32 || 2*bounds.f+1 >= q { // f as a residue must keep its sign
			return nil, fault.Capacity
		}
	}
	all, wire, modulus := product(preset.Primes), product(preset.WirePrimes()), pow2(p.CoefficientBits)
	p.encodingConstants(all, modulus)
	p.limit = bounds.limit(wire, modulus)
	for _, m := range preset.MACPrimes {
		if !bounds.fits(wire, word(m)) {
			return nil, fault.Capacity
		}
		p.macs = append(p.macs, p.exact(all, word(m)))
		p.limitMAC = append(p.limitMAC, bounds.limit(wire, word(m)))
	}
	p.decodingConstants(wire)
	p.scratch.New = func() any { return newScratch(p) }
	return p, nil
}

func (p *Params) encodingConstants(all, modulus *big.Int) {
	if !p.narrow() {
		for f := range p.Fields {
			p.wide = append(p.wide, p.exact(new(big.Int).Lsh(all, uint(p.FieldBits*f)), modulus))
		}
		return
	}
	for f := 0; f < p.Fields; f += p.chunkFields() { // round(Q 2^(b f) / T)
		x := new(big.Int).Lsh(all, uint(p.FieldBits*f+1))
		x.Add(x, modulus).Quo(x, new(big.Int).Lsh(modulus, 1))
		p.chunk = append(p.chunk, p.residues(x))
	}
}

func (p *Params) decodingConstants(wire *big.Int) {
	last := word(p.Primes[len(p.Primes)-1])
	const spare = 32 // bits by which the fixed point is finer than the noise limit needs
	count := len(p.WirePrimes())
	p.words = (p.CoefficientBits + bits.Len64(p.Primes[0]) + bits.Len(uint(count)) + spare + 63) / 64
	one := pow2(64 * p.words)
	for j, prime := range p.WirePrimes() {
		q := word(prime)
		p.dropInv = append(p.dropInv, p.montgomery(new(big.Int).ModInverse(last, q), j))
		p.crtInv = append(p.crtInv, p.montgomery(new(big.Int).ModInverse(new(big.Int).Quo(wire, q), q), j))
		f := new(big.Int).Add(one, new(big.Int).Rsh(q, 1))
		f.Quo(f, q)
		words := make([]uint64, p.words)
		for i := range words {
			words[i] = new(big.Int).Rsh(f, uint(64*i)).Uint64()
		}
		p.inverse = append(p.inverse, words)
	}
}

func (p *Params) residues(x *big.Int) (out []uint64) {
	for j := range p.Primes {
		out = append(out, p.montgomery(x, j))
	}
	return
}

// exact is num / den with 64 bits of its fraction.
func (p *Params) exact(num, den *big.Int) exact {
	whole, rest := new(big.Int).QuoRem(num, den, new(big.Int))
	return exact{p.residues(whole), rest.Lsh(rest, 64).Quo(rest, den).Uint64()}
}

package packed

import (
	"math/bits"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/residue"
)

// Encode adds the encoding of the values of ciphertext c, and of those MAC totals
// chi that lie in it, to s.X, which is in the coefficient domain.
func (l Layout) Encode(s *Scratch, c int, values, chi []uint64) {
	low, high := l.Range(c)
	l.encodeFields(s, values[low:high])
	for i, total := range chi {
		if ciphertext, at := l.macAt(i); ciphertext == c {
			l.addExact(s.X, at, total, &l.macs[i])
		}
	}
}

func (p *Params) encodeFields(s *Scratch, values []uint64) {
	if !p.narrow() {
		for k, v := range values {
			p.addExact(s.X, k/p.Fields, v, &p.wide[k%p.Fields])
		}
		return
	}
	used := (len(values) + p.Fields - 1) / p.Fields
	p.pack(values, used, s.chunk)
	for j := range p.Primes {
		p.addChunks(s.X.Coeffs[j][:used], s.chunk, j)
	}
}

// addExact adds v C to coefficient i: v floor(C) + ((v phi + 2^63) >> 64). Its
// error is at most one, whatever v; so totals that wrap mod p leave a residual
// of at most n, and carries of wide fields are not lost.
func (p *Params) addExact(x ring.Poly, i int, v uint64, c *exact) {
	h, l := bits.Mul64(v, c.phi)
	_, carry := bits.Add64(l, 1<<63, 0)
	h += carry
	for j, sub := range p.Ring.SubRings {
		q := sub.Modulus
		y := residue.Add(ring.MRed(v, c.base[j], q, sub.MRedConstant), ring.BRedAdd(h, q, sub.BRedConstant), q)
		x.Coeffs[j][i] = residue.Add(x.Coeffs[j][i], y, q)
	}
}

// pack lays narrow fields into chunks, len(p.chunk) words a coefficient.
func (p *Params) pack(values []uint64, used int, out []uint64) {
	count, group, width := len(p.chunk), p.chunkFields(), uint(p.FieldBits)
	if full := len(values) / p.Fields; group == 2 && p.Fields%2 == 0 { // the usual case, without inner loops
		pairs := out[:full*count]
		for i := range pairs {
			pairs[i] = values[2*i] | values[2*i+1]<<width
		}
		values, out, used = values[full*p.Fields:], out[full*count:], used-full
	}
	for i := range used {
		for c := range count {
			var v uint64
			for g := range min(group, p.Fields-c*group) {
				if k := i*p.Fields + c*group + g; k < len(values) {
					v |= values[k] << (width * uint(g))
				}
			}
			out[i*count+c] = v
		}
	}
}

// addChunks adds sum_c chunk_c constant_c to the residues of prime j. One
// reduction for each coefficient: a chunk is below 2^44 and a constant below
// 2^60, so the sum of up to 2^15 products stays below q 2^64.
func (p *Params) addChunks(x, chunks []uint64, j int) {
	sub, count := p.Ring.SubRings[j], len(p.chunk)
	q, mred := sub.Modulus, sub.MRedConstant
	constants := make([]uint64, count)
	for c := range p.chunk {
		constants[c] = p.chunk[c][j]
	}
	if count == 4 {
		addFourChunks(x, chunks, [4]uint64(constants), q, mred)
		return
	}
	for i := range x {
		var hi, lo, carry uint64
		for c, v := range chunks[i*count : i*count+count] {
			h, l := bits.Mul64(v, constants[c])
			lo, carry = bits.Add64(lo, l, 0)
			hi += h + carry
		}
		x[i] = residue.Add(x[i], residue.Reduce(hi, lo, q, mred), q)
	}
}

// addFourChunks is addChunks for fields of 17 to 20 bits at N = 8192, unrolled.
func addFourChunks(x, chunks []uint64, k [4]uint64, q, mred uint64) {
	for i := range x {
		v := chunks[4*i : 4*i+4 : 4*i+4]
		var carry uint64
		h0, l0 := bits.Mul64(v[0], k[0])
		h1, l1 := bits.Mul64(v[1], k[1])
		h2, l2 := bits.Mul64(v[2], k[2])
		h3, l3 := bits.Mul64(v[3], k[3])
		l0, carry = bits.Add64(l0, l1, 0)
		h0, _ = bits.Add64(h0, h1, carry)
		l2, carry = bits.Add64(l2, l3, 0)
		h2, _ = bits.Add64(h2, h3, carry)
		l0, carry = bits.Add64(l0, l2, 0)
		h0, _ = bits.Add64(h0, h2, carry)
		x[i] = residue.Add(x[i], residue.Reduce(h0, l0, q, mred), q)
	}
}

// Drop divides the used coefficients by the last prime and rounds: the rows of
// the wire primes become round(x / q_L) mod q_j.
//
// It comes after the masks. Shares that are rounded before they are masked
// leak: the masks cancel in the sum, and the sum of the roundings is a function
// of every single share (TestRoundingBeforeMaskingLeaks).
func (p *Params) Drop(x ring.Poly, used int) {
	last := p.Primes[len(p.Primes)-1]
	half := last >> 1
	rest := x.Coeffs[len(p.Primes)-1][:used]
	for i, v := range rest {
		rest[i] = residue.Add(v, half, last)
	}
	for j, inv := range p.dropInv {
		sub, row := p.Ring.SubRings[j], x.Coeffs[j][:used]
		offset, q, mred := half+sub.Modulus, sub.Modulus, sub.MRedConstant
		for i, r := range rest {
			row[i] = ring.MRed(row[i]+offset-r, inv, q, mred)
		}
	}
}

// AddSmall adds noise to all residues of a polynomial.
func (p *Params) AddSmall(x ring.Poly, e []int64) {
	for j, q := range p.Primes {
		residue.AddSmall(x.Coeffs[j], e, q)
	}
}

// NegateWire negates the used coefficients in the rows of the wire primes.
func (p *Params) NegateWire(x ring.Poly, used int) {
	for j, q := range p.WirePrimes() {
		row := x.Coeffs[j][:used]
		for i, v := range row {
			row[i] = residue.Sub(0, v, q)
		}
	}
}

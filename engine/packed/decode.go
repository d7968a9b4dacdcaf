package packed

import (
	"math/bits"

	"github.com/tuneinsight/lattigo/v6/ring"
)

// maxWords bounds the fixed point: 160 + 55 + 2 + 32 bits are 4 words.
const maxWords = 5

// fixed is a fraction in words of 64 bits, lowest first, with room for a carry
// and for reading across the end.
type fixed [maxWords + 2]uint64

// Verdict collects what a decoding finds wrong. It is looked at once, after
// everything has been decoded: an early answer would tell where the fault lies.
type Verdict struct {
	residual uint64 // largest noise, in units of 2^-64 of a step
	Bad      bool   // more noise than honest members make, or an unused bit
}

// Merge adds another ciphertext's findings.
func (v *Verdict) Merge(other Verdict) {
	v.residual, v.Bad = max(v.residual, other.residual), v.Bad || other.Bad
}

// Residual is the largest noise found, as a fraction of a step; 0.5 is where
// decoding goes wrong.
func (v Verdict) Residual() float64 { return float64(v.residual) / (1 << 32) / (1 << 32) }

// Limit is the largest residual that honest members can make.
func (p *Params) Limit() float64 { return float64(p.limit) / (1 << 32) / (1 << 32) }

// Decode reads the entries of ciphertext c into out and the MAC totals that lie
// in it into chi. x holds residues mod the wire primes, below 2q; it is
// overwritten.
func (l Layout) Decode(x ring.Poly, c int, out, chi []uint64) Verdict {
	rows := make([][]uint64, len(l.WirePrimes()))
	for j := range rows {
		rows[j] = x.Coeffs[j][:l.Used(c)]
	}
	l.prepare(rows)
	low, high := l.Range(c)
	verdict := l.decodeFields(rows, out[low:high])
	for i := range chi {
		if ciphertext, at := l.macAt(i); ciphertext == c {
			total, ok := l.decodeMAC(rows, at, i)
			chi[i] = total
			verdict.Bad = verdict.Bad || !ok
		}
	}
	return verdict
}

// prepare turns residues x_j into y_j = x_j (Q'/q_j)^-1 mod q_j, so that
// x / Q' = sum y_j / q_j mod 1.
func (p *Params) prepare(rows [][]uint64) {
	for j, inv := range p.crtInv {
		sub := p.Ring.SubRings[j]
		for i, v := range rows[j] {
			rows[j][i] = ring.MRed(v, inv, sub.Modulus, sub.MRedConstant)
		}
	}
}

// fraction is sum_j y_j / q_j mod 1 at coefficient i: no big integers here.
func (p *Params) fraction(rows [][]uint64, i int, sum *fixed) {
	clear(sum[:])
	for j := range rows {
		v := rows[j][i]
		var carry, c uint64
		for a, f := range p.inverse[j] {
			h, l := bits.Mul64(v, f)
			l, c = bits.Add64(l, carry, 0)
			h += c
			sum[a], c = bits.Add64(sum[a], l, 0)
			carry = h + c
		}
	}
}

// decodeFields reads fields: round(T x / Q') mod T. Unused bits must be 0, in the
// top of a coefficient and after the last entry.
func (p *Params) decodeFields(rows [][]uint64, out []uint64) (verdict Verdict) {
	var sum fixed
	below := 64*p.words - p.CoefficientBits // bits of fraction below the message
	halfWord, halfBit := (below-1)>>6, uint64(1)<<uint((below-1)&63)
	grab := func(at int) uint64 {
		i, shift := at>>6, uint(at&63)
		return sum[i]>>shift | sum[i+1]<<1<<(63-shift)
	}
	mask := uint64(1)<<p.FieldBits - 1
	top := p.CoefficientBits - p.Fields*p.FieldBits
	var unused uint64
	k := 0
	for i := range (len(out) + p.Fields - 1) / p.Fields {
		p.fraction(rows, i, &sum)
		add, carry := halfBit, uint64(0)
		for a := halfWord; a < p.words; a++ {
			sum[a], carry = bits.Add64(sum[a], add, carry)
			add = 0
		}
		sum[p.words] = 0
		noise := int64(grab(below-64) - 1<<63) // what is left after one half was added
		size := uint64(noise ^ noise>>63)
		verdict.residual = max(verdict.residual, size)
		unused |= grab(below+p.Fields*p.FieldBits) & (uint64(1)<<top - 1)
		for f := range p.Fields {
			v := grab(below+f*p.FieldBits) & mask
			if k < len(out) {
				out[k] = v
				k++
			} else {
				unused |= v
			}
		}
	}
	verdict.Bad = unused != 0 || verdict.residual > p.limit
	return verdict
}

// decodeMAC is round(p x / Q') mod p for MAC coefficient m at coefficient i.
func (p *Params) decodeMAC(rows [][]uint64, i, m int) (total uint64, ok bool) {
	var sum fixed
	p.fraction(rows, i, &sum)
	var carry, c, top uint64
	for a := range p.words {
		h, l := bits.Mul64(sum[a], p.MACPrimes[m])
		l, c = bits.Add64(l, carry, 0)
		carry, top = h+c, l
	}
	rest := int64(top) // the fraction, centred
	if rest < 0 {
		carry++
	}
	return carry % p.MACPrimes[m], uint64(rest^rest>>63) <= p.limitMAC[m]
}

package packed

import (
	"math/bits"

	"fedanomaly/engine/stream"
	"fedanomaly/engine/workers"
)

// Keys gives the stream of the MAC keys of one ciphertext and MAC coefficient.
type Keys func(ciphertext, coefficient int) *stream.Stream

// Chi is the linear MAC of a vector: for each MAC coefficient the total of
// rho_f v_f mod p over all entries. The sum over members of their totals is the
// total of the sum, so a sum can be checked against it; whoever does not know
// rho alters a sum unseen with probability 1/p (2^-61, or 2^-62 for two).
//
// All entries, however they were packed, are below 2^60.
func (l Layout) Chi(values []uint64, keys Keys) ([]uint64, error) {
	parts := make([][]uint64, l.Ciphertexts)
	err := workers.Each(l.Ciphertexts, func(c int) {
		low, high := l.Range(c)
		part := make([]uint64, len(l.macs))
		for m, p := range l.MACPrimes {
			part[m] = dot(keys(c, m), p, values[low:high])
		}
		parts[c] = part
	})
	if err != nil {
		return nil, err
	}
	chi := make([]uint64, len(l.macs))
	for _, part := range parts {
		for m, p := range l.MACPrimes {
			chi[m] = (chi[m] + part[m]) % p
		}
	}
	return chi, nil
}

// dot is the total of rho v mod p. Blocks of 64 are reduced once: 61 + 60 + 6
// bits fit two words, and the high word stays below p.
func dot(keys *stream.Stream, p uint64, values []uint64) (total uint64) {
	var rho [512]uint64
	for len(values) > 0 {
		n := min(len(values), len(rho))
		keys.Uniform(rho[:n], p)
		for k := 0; k < n; k += 64 {
			var hi, lo, carry uint64
			block := values[k:min(k+64, n)]
			for i, r := range rho[k:][:len(block)] {
				h, l := bits.Mul64(r, block[i])
				lo, carry = bits.Add64(lo, l, 0)
				hi += h + carry
			}
			total = (total + bits.Rem64(hi, lo, p)) % p
		}
		values = values[n:]
	}
	clear(rho[:])
	return total
}

package stream

import "math/bits"

// Ternary fills every residue vector of a polynomial with one sequence of
// independent uniform values of {-1, 0, 1}; rows[j] is mod primes[j].
//
// Lattigo's ring.Ternary{P: 2/3}, its default secret distribution, is not used:
// in v6.2.0 it feeds the sign bit of one coefficient to the next (measured in
// TestTernaryIsIndependent).
func (s *Stream) Ternary(rows [][]uint64, primes []uint64) {
	var word uint64
	left := 0
	for i := 0; i < len(rows[0]); {
		if left == 0 {
			word, left = s.Word(), 32
		}
		v := word & 3
		word >>= 2
		left--
		if v == 3 { // rejected: three of four are equally likely
			continue
		}
		one, minus := v&1, v>>1
		for j, q := range primes {
			rows[j][i] = one | -minus&(q-1)
		}
		i++
	}
}

// NoiseBound bounds the encryption noise.
const NoiseBound = 21

// CentredBinomial fills e with the noise of an encryption: 21 fair bits minus 21
// fair bits, standard deviation sqrt(21/2) = 3.24, never beyond NoiseBound. No
// table and no branch, so its time says nothing.
func (s *Stream) CentredBinomial(e []int64) {
	const mask = 1<<NoiseBound - 1
	var words [512]uint64
	for len(e) > 0 {
		n := min(len(e), len(words))
		s.Words(words[:n])
		for i, w := range words[:n] {
			e[i] = int64(bits.OnesCount64(w&mask)) - int64(bits.OnesCount64(w>>NoiseBound&mask))
		}
		e = e[n:]
	}
	clear(words[:])
}

// Smudging fills f with integers uniform in [-bound, bound].
//
// It is uniform and our own: Lattigo's discrete Gaussian has about 2^32 distinct
// values whatever its width, so it would hide nothing above that.
func (s *Stream) Smudging(f []int64, bound uint64, tmp []uint64) {
	tmp = tmp[:len(f)]
	s.Uniform(tmp, 2*bound+1)
	for i, v := range tmp {
		f[i] = int64(v - bound)
	}
}

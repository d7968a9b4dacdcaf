package member

import (
	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/packed"
	"fedanomaly/engine/residue"
	"fedanomaly/engine/stream"
)

// Shamir sharing over R_Q, of degree t - 1, with the roster index as point.
//
// Not Lattigo's Combiner: it silently ignores active points after the first t,
// while a decryption share here is scaled for exactly the decryptors of the
// manifest, and it is not safe for concurrent use.

// drawRing draws a uniform ternary secret and the coefficients of its sharing.
func drawRing(preset *packed.Preset, threshold int) *ringSecrets {
	r := &ringSecrets{preset: preset, s: preset.Ring.NewPoly()}
	stream.New(stream.Fresh()).Ternary(r.s.Coeffs, preset.Primes)
	preset.Ring.NTT(r.s, r.s)
	preset.Ring.MForm(r.s, r.s)
	words := stream.New(stream.Fresh())
	for range threshold - 1 {
		c := preset.Ring.NewPoly()
		for j, q := range preset.Primes {
			words.Uniform(c.Coeffs[j], q)
		}
		r.coeffs = append(r.coeffs, c)
	}
	return r
}

// shareFor evaluates the sharing polynomial at a roster index (Horner).
func (r *ringSecrets) shareFor(index int) ring.Poly {
	out := r.preset.Ring.NewPoly()
	for j, sub := range r.preset.Ring.SubRings {
		row, q, mred := out.Coeffs[j], sub.Modulus, sub.MRedConstant
		x := ring.MForm(uint64(index), q, sub.BRedConstant)
		copy(row, r.coeffs[len(r.coeffs)-1].Coeffs[j])
		for k := len(r.coeffs) - 2; k >= -1; k-- {
			c := r.s.Coeffs[j]
			if k >= 0 {
				c = r.coeffs[k].Coeffs[j]
			}
			for i, v := range row {
				row[i] = residue.Add(ring.MRed(v, x, q, mred), c[i], q)
			}
		}
	}
	return out
}

// forgetDealing erases what only dealing needs.
func (r *ringSecrets) forgetDealing() {
	wipePoly(&r.s)
	for i := range r.coeffs {
		wipePoly(&r.coeffs[i])
	}
	r.coeffs = nil
}

// finish keeps -s alone.
func (r *ringSecrets) finish() {
	r.negS = r.preset.Ring.NewPoly()
	r.preset.Ring.Neg(r.s, r.negS)
	r.forgetDealing()
}

// lagrange is the coefficient of point at for interpolation at 0 over all of
// the decryptors, mod q.
func lagrange(decryptors []int, at int, q uint64, barrett [2]uint64) uint64 {
	num, den := uint64(1), uint64(1)
	for _, d := range decryptors {
		if d != at {
			num = ring.BRed(num, uint64(d), q, barrett)
			den = ring.BRed(den, (uint64(d)+q-uint64(at))%q, q, barrett)
		}
	}
	return ring.BRed(num, ring.ModExp(den, q-2, q), q, barrett)
}

// openingKey is lambda_j sigma_{U,j}: over all decryptors these add up to S_U,
// the sum of the contributors' secrets, and of no other set.
func (r *ringSecrets) openingKey(decryptors, contributors []int, index int) ring.Poly {
	out := r.preset.Ring.NewPoly()
	for _, i := range contributors {
		r.preset.Ring.Add(out, r.shares[i-1], out)
	}
	for j, sub := range r.preset.Ring.SubRings {
		q, mred, row := sub.Modulus, sub.MRedConstant, out.Coeffs[j]
		factor := ring.MForm(lagrange(decryptors, index, q, sub.BRedConstant), q, sub.BRedConstant)
		for i, v := range row {
			row[i] = ring.MRed(v, factor, q, mred)
		}
	}
	return out
}

package member

import "testing"

// One secret under one polynomial twice would show the difference of two
// plaintexts. So without noise, and of zeros, a member's ciphertexts differ
// uniformly: within a manifest, prime by prime, and between two manifests.
func TestEveryCiphertextHasItsOwnPublicPolynomial(t *testing.T) {
	f := federationOf(t, 6, 2)
	for _, degree := range []int{4096, 8192} {
		probe := f.round(shape{degree: degree, bits: 20, entries: 1}).mf.Layout
		full := probe.N*probe.Fields*3 - len(probe.MACPrimes)*probe.Fields
		var seen [][][]uint64
		var names []string
		for _, name := range []string{"first", "second"} {
			r := f.round(shape{degree: degree, bits: 20, entries: full})
			out := make([]byte, r.mf.Layout.Bytes())
			check(t, r.members[0].contribution(r.mf, make([]uint64, full), out, func(int, []int64, []uint64) {}))
			for c := range r.mf.Layout.Ciphertexts {
				seen, names = append(seen, r.rows(out, c)), append(names, name)
			}
		}
		for c := range seen {
			for d := range c {
				for j, q := range probe.WirePrimes() {
					if !looksUniform(seen[c][j], seen[d][j], q) {
						t.Fatalf("N=%d: ciphertexts %d (%s) and %d (%s) share their polynomial", degree, c, names[c], d, names[d])
					}
				}
			}
		}
	}
}

package scoring

import (
	"fedanomaly/engine/canonical"
	"fedanomaly/engine/kernel"
	"fedanomaly/engine/stream"
)

// public expands the polynomials a_i of a seed, in the layout of a batch:
// [limb][point / 16][feature][16], at the points of the NTT.
func (p *preset) public(seed canonical.Hash, features int) []uint32 {
	out := make([]uint32, p.limbs*p.points*features)
	residues := make([]uint64, p.points)
	input := canonical.Item(canonical.Begin("scoring a"), "seed", seed[:])
	for i := range features {
		for l, q := range p.primes {
			stream.New(hash(stream.At(input, i, l))).Uniform(residues, q)
			for n := 0; n < p.points; n += kernel.Block {
				row := out[p.place(features, l, n, i):]
				for k, v := range residues[n : n+kernel.Block] {
					row[k] = uint32(v)
				}
			}
		}
	}
	return out
}

// place is where the residue of a feature at a point lies in a batch.
func (p *preset) place(features, limb, point, feature int) int {
	return ((limb*p.points/kernel.Block+point/kernel.Block)*features+feature)*kernel.Block + point%kernel.Block
}

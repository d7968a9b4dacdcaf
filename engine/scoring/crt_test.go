package scoring

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestResiduesComeTogetherToTheNearestNumbers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 11))
	for kind := range literals {
		p, err := presetOf(kind)
		if err != nil {
			t.Fatal(err)
		}
		half := new(big.Int).Rsh(p.ring.Modulus(), 1)
		half.Sub(half, new(big.Int).Rsh(half, 40)) // nearer to it, the quotient is a matter of rounding
		for turn := range 2000 {
			x := new(big.Int).Set(half) // the largest there is, then others
			if turn > 1 {
				x.Rsh(x, uint(random.IntN(x.BitLen()))).Sub(x, big.NewInt(random.Int64N(1<<20)))
			}
			if turn%2 == 1 {
				x.Neg(x)
			}
			residues := make([][]uint64, p.limbs)
			for l, q := range p.primes {
				residues[l] = []uint64{new(big.Int).Mod(x, new(big.Int).SetUint64(q)).Uint64()}
			}
			want, _ := new(big.Float).SetInt(x).Float64()
			// Two primes fit a word and round once, more round for every word.
			off := math.Abs(p.crt.centred(residues, 0) - want)
			if off > math.Abs(want)*0x1p-50 || p.limbs == 2 && off > 0 {
				t.Fatalf("kind %d: %v is off by %g", kind, x, off)
			}
		}
	}
}

package member

import (
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/packed"
	"fedanomaly/engine/stream"
)

// lie is a message that adds delta[k] to entry at[k] of a sum; entry -1 - i is
// MAC coefficient i. Anybody can make one.
func lie(l packed.Layout, at []int, delta []*big.Int) []byte {
	wire, polys := big.NewInt(1), make([]ring.Poly, l.Ciphertexts)
	for _, q := range l.WirePrimes() {
		wire.Mul(wire, new(big.Int).SetUint64(q))
	}
	for c := range polys {
		polys[c] = l.Ring.NewPoly()
	}
	for k, entry := range at {
		x, coefficient := new(big.Int).Mul(wire, delta[k]), 0
		if entry < 0 {
			coefficient = l.Data - 1 - entry
			x.Div(x, new(big.Int).SetUint64(l.MACPrimes[-1-entry]))
		} else {
			coefficient = entry / l.Fields
			x.Lsh(x, uint(entry%l.Fields*l.FieldBits+1)).Add(x, new(big.Int).Lsh(big.NewInt(1), uint(l.CoefficientBits)))
			x.Rsh(x, uint(l.CoefficientBits+1))
		}
		for j, q := range l.WirePrimes() {
			modulus := new(big.Int).SetUint64(q)
			row := polys[coefficient/l.N].Coeffs[j]
			old := new(big.Int).SetUint64(row[coefficient%l.N])
			row[coefficient%l.N] = old.Add(old, x).Mod(old, modulus).Uint64()
		}
	}
	out := make([]byte, l.Bytes())
	for c := range polys {
		l.Pack(out, c, polys[c])
	}
	return out
}

// The MAC catches any alteration by somebody without the group key; a member,
// who has it, could alter its own contribution as well.
func TestTheMACCatchesLies(t *testing.T) {
	for _, c := range []struct{ degree, bits int }{{4096, 20}, {8192, 20}, {8192, 39}} {
		const entries = 5000
		r := federationOf(t, 6, 3).round(shape{degree: c.degree, bits: c.bits, entries: entries})
		l, sum, want := r.mf.Layout, r.add(r.messages(r.all())...), r.want(r.all())
		most := int64(6 * (1<<l.ValueBits - 1))
		try := func(name string, plain bool, at []int, delta []*big.Int) {
			t.Helper()
			lied := r.add(sum, lie(l, at, delta))
			if _, err := r.open(6, r.all(), lied); !errors.Is(err, fault.Rejected) {
				t.Fatal(name, at, delta, err)
			}
			if !plain {
				return
			}
			got := make([]uint64, entries) // only the MAC can have seen it
			verdict, _, _ := r.members[5].decode(r.mf, r.all(), lied, got)
			if verdict.Bad || int64(slices.Max(got)) > most || different(got, want) == 0 {
				t.Fatal(name, "is no plain lie")
			}
		}
		rng := rand.New(rand.NewPCG(1, uint64(c.degree)))
		inside := func(margin int64) int { // an entry without carries
			for {
				if k := rng.IntN(entries); int64(want[k]) >= margin && int64(want[k]) <= most-margin {
					return k
				}
			}
		}
		for k := range 30 {
			try("+-1", true, []int{inside(1)}, []*big.Int{big.NewInt(int64(1 - k%2*2))})
		}
		for k := range l.ValueBits {
			try("power of two", true, []int{inside(1 << k)}, []*big.Int{big.NewInt(1 << k)})
		}
		for range 30 {
			var at []int
			var delta []*big.Int
			for range 1 + rng.IntN(50) {
				at = append(at, rng.IntN(entries+len(l.MACPrimes))-len(l.MACPrimes))
				delta = append(delta, big.NewInt(rng.Int64N(1<<(l.ValueBits-2))+1))
			}
			try("combination", false, at, delta)
		}
		for i := range l.MACPrimes {
			try("MAC alone", false, []int{-1 - i}, []*big.Int{big.NewInt(1)})
		}
		a := inside(1)
		b := inside(1)
		for want[a] == want[b] {
			b = inside(1)
		}
		d := big.NewInt(int64(want[b]) - int64(want[a]))
		try("swap", true, []int{a, b}, []*big.Int{d, new(big.Int).Neg(d)})
		if got, err := r.open(6, r.all(), r.add(sum, lie(l, nil, nil))); err != nil || !slices.Equal(got, want) {
			t.Fatal("no lie at all must pass", err)
		}
		one, at := make([]uint64, entries), inside(1)
		one[at] = 1
		places, deltas := []int{at}, []*big.Int{big.NewInt(1)}
		for i, v := range must(r.members[0].chi(r.mf, one)) {
			places, deltas = append(places, -1-i), append(deltas, new(big.Int).SetUint64(v))
		}
		if got, err := r.open(6, r.all(), r.add(sum, lie(l, places, deltas))); err != nil || got[at] != want[at]+1 {
			t.Fatal("with the key a lie passes; otherwise the test above proves nothing", err)
		}
	}
}

// Whole rounds in which every sampler returns its extreme and entries are full:
// the noise stays below its bound, and the sum is exact. (Most of the bound is
// for roundings, which no member chooses; TestNoiseAtItsBoundDecodes in package
// packed goes to the bound itself.)
func TestWorstCaseNoiseOpensExactly(t *testing.T) {
	for _, c := range []struct{ n, threshold, degree, bits int }{{16, 11, 8192, 20}, {12, 8, 4096, 22}, {8, 7, 8192, 39}} {
		f := federationOf(t, c.n, c.threshold)
		for _, sign := range []int64{1, -1} {
			r := f.round(shape{degree: c.degree, bits: c.bits, entries: 1500})
			l := r.mf.Layout
			extreme := func(bound uint64) noiseOf {
				return func(_ int, e []int64, _ []uint64) {
					for i := range e {
						e[i] = sign * int64(bound)
					}
				}
			}
			s := l.Whole().NewSum()
			out := make([]byte, l.Bytes())
			for i, v := range r.values {
				for k := range v {
					v[k] = 0
					if sign > 0 {
						v[k] = 1<<l.ValueBits - 1
					}
				}
				check(t, f.members[i].contribution(r.mf, v, out, extreme(stream.NoiseBound)))
				check(t, s.Add(out))
			}
			for _, j := range r.mf.Decryptors {
				check(t, f.members[j-1].share(r.mf, f.all(), out, extreme(l.SmudgingBound)))
				check(t, s.Add(out))
			}
			check(t, s.Write(out))
			got, err := r.open(1, f.all(), out)
			if err != nil || !slices.Equal(got, r.want(f.all())) {
				t.Fatal(c, sign, err)
			}
			verdict, _, _ := f.members[0].decode(r.mf, f.all(), out, got)
			t.Logf("%+v k=%d sign %+d: residual %.3f of a step, limit %.3f", c, l.CoefficientBits, sign, verdict.Residual(), l.Limit())
			if verdict.Residual() > l.Limit() {
				t.Fatal("beyond the bound")
			}
		}
	}
}

// What the MAC does not cover, or a member with the group's key has adjusted, is
// rejected as well: a bit in an unused place, and an entry beyond what so many
// contributors can add up to.
func TestUnusedBitsAndRangeAreRejectedThoughTheMACAgrees(t *testing.T) {
	r := federationOf(t, 6, 3).round(shape{degree: 4096, bits: 20, entries: 3}) // two entries a coefficient: the fourth is unused
	l, sum := r.mf.Layout, r.add(r.messages(r.all())...)
	reject := func(name string, at []int, delta []*big.Int) {
		t.Helper()
		lied, got := r.add(sum, lie(l, at, delta)), make([]uint64, 3)
		if _, err := r.open(6, r.all(), lied); !errors.Is(err, fault.Rejected) {
			t.Fatal(name, err)
		}
		_, chi, err := r.members[5].decode(r.mf, r.all(), lied, got)
		if want := must(r.members[5].chi(r.mf, got)); err != nil || !slices.Equal(chi, want) {
			t.Fatal(name, "the MAC must agree here")
		}
	}
	reject("unused bit", []int{3}, []*big.Int{big.NewInt(1)})
	over, one := big.NewInt(6*(1<<l.ValueBits-1)+1-int64(r.want(r.all())[1])), []uint64{0, 1, 0}
	at, delta := []int{1}, []*big.Int{over}
	for i, v := range must(r.members[0].chi(r.mf, one)) {
		at, delta = append(at, -1-i), append(delta, new(big.Int).Mul(over, new(big.Int).SetUint64(v)))
	}
	reject("range", at, delta)
}

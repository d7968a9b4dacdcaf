package member

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/manifest"
	"fedanomaly/engine/stream"
)

// What a colluder's vault holds, in plain: no ring secret, noise key or pairwise
// key of anybody else; and nothing of its own dealing.
func TestTheStateOfAColluderHoldsNoKeyOfAnother(t *testing.T) {
	f := federationOf(t, 6, 3)
	var state []byte
	for _, j := range colluders {
		state = append(state, f.members[j-1].appendState(nil)...)
	}
	holds := func(key []byte) bool { return bytes.Contains(state, key) }
	start := func(r *ringSecrets, p ring.Poly) []byte { return r.preset.AppendPoly(nil, p)[:64] }
	if !holds(f.members[4].keys.e[:]) || !holds(f.members[0].keys.zero[4][:]) {
		t.Fatal("the test looks in the wrong place")
	}
	for _, r := range f.members[4].rings {
		if !holds(start(r, r.shares[0])) {
			t.Fatal("residues are kept in another form: the test looks in the wrong place")
		}
	}
	for _, i := range honest {
		m := f.members[i-1]
		for name, key := range map[string]stream.Key{"join": m.keys.join, "e": m.keys.e, "f": m.keys.f} {
			if holds(key[:]) {
				t.Error("a colluder holds the key of", name, "of", i)
			}
		}
		for _, k := range honest {
			if k != i && holds(m.keys.zero[k-1][:]) {
				t.Error("a colluder holds the pairwise key of", i, k)
			}
		}
		for _, r := range m.rings {
			if holds(start(r, r.negS)) {
				t.Error("a colluder holds the ring secret of", i)
			}
			for k := range honest { // what honest members dealt to honest members
				if holds(start(r, r.shares[k])) {
					t.Error("a colluder holds a key share of", i)
				}
			}
		}
	}
	for _, j := range colluders {
		for _, r := range f.members[j-1].rings {
			if r.s.Coeffs != nil || r.coeffs != nil {
				t.Error("dealing secrets are kept")
			}
		}
	}
}

// A dealer whose key shares lie on no polynomial of degree t - 1, each well
// formed and sealed by the book: the self-test does not open, so the epoch never
// comes to life; its zeros are nobody's data.
func TestKeySharesOfNoPolynomialFailTheSelfTest(t *testing.T) {
	const n, threshold, bad = 4, 2, 4
	f := &federation{t: t, threshold: threshold, roster: canonical.Hash{9}}
	var hellos [][]byte
	for i := range n {
		m := must(New(n, threshold, i+1))
		f.members = append(f.members, m)
		hellos = append(hellos, must(m.Hello()))
	}
	words := stream.New(stream.Fresh())
	for from := range n {
		for to := range n {
			if from == to {
				continue
			}
			if from+1 == bad { // another slope for each receiver
				for _, r := range f.members[from].rings {
					for j, q := range r.preset.Primes {
						words.Uniform(r.coeffs[0].Coeffs[j], q)
					}
				}
			}
			envelope := must(f.members[from].Deal(to+1, hellos[to], infoFor(from, to)))
			check(t, f.members[to].Receive(from+1, hellos[from], infoFor(from, to), envelope))
		}
	}
	f.epoch = canonical.Hash{7}
	for _, m := range f.members {
		must(m.Finish(f.epoch, f.roster))
	}
	for _, degree := range []int{4096, 8192} {
		r := f.round(shape{degree: degree, bits: 24, entries: 64, kind: manifest.KindTest})
		for viewer := 1; viewer < bad; viewer++ {
			if got, err := r.open(viewer, r.all(), r.add(r.messages(r.all())...)); !errors.Is(err, fault.Rejected) {
				t.Fatal("the self-test passed", got, err)
			}
		}
	}
}

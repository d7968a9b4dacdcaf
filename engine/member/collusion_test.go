package member

import (
	"math"
	"slices"
	"testing"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/residue"
	"fedanomaly/engine/stream"
)

// coalition is t - 1 colluders with the coordinator: n = 6, t = 3, D = 1 .. 5,
// colluders 5 and 6, victim 1. They hold every message, their own secrets as the
// engine seals them, all key shares that were dealt to them, their pairwise keys
// and the group key. Everything below is computed from that, and from the
// victim's plaintext, which a distinguisher is given on top.
type coalition struct {
	*round
	own map[int]*Member
}

var (
	victim    = 1
	honest    = []int{1, 2, 3, 4}
	colluders = []int{5, 6}
)

// vector is one ciphertext on the wire: residues by prime.
type vector [][]uint64

func newCoalition(t *testing.T, f *federation) *coalition {
	r := f.round(shape{degree: 4096, bits: 20, entries: (4096 - 2) * 2, decryptors: []int{1, 2, 3, 4, 5}})
	c := &coalition{round: r, own: map[int]*Member{}}
	key := stream.Fresh()
	for _, j := range colluders { // as their vaults give it back, and nothing more
		c.own[j] = must(Unseal(key, nil, must(f.members[j-1].Seal(key, nil))))
		t.Cleanup(c.own[j].Close)
	}
	return c
}

func (c *coalition) of(message []byte) vector { return c.rows(message, 0) }

func (c *coalition) combine(x, y vector, subtract bool) vector {
	out := make(vector, len(x))
	for p, q := range c.mf.Layout.WirePrimes() {
		out[p] = make([]uint64, len(x[p]))
		for i := range x[p] {
			if subtract {
				out[p][i] = residue.Sub(x[p][i], y[p][i], q)
			} else {
				out[p][i] = residue.Add(x[p][i], y[p][i], q)
			}
		}
	}
	return out
}

func (c *coalition) plus(x, y vector) vector  { return c.combine(x, y, false) }
func (c *coalition) minus(x, y vector) vector { return c.combine(x, y, true) }

// wired computes mod Q and rounds as a message does.
func (c *coalition) wired(fill func(x ring.Poly)) vector {
	l := c.mf.Layout
	x := l.Ring.NewPoly()
	fill(x)
	l.Drop(x, l.Used(0))
	return vector(x.Coeffs[:len(l.WirePrimes())])
}

func (c *coalition) times(key ring.Poly) vector {
	l := c.mf.Layout
	return c.wired(func(x ring.Poly) {
		s := l.Borrow()
		defer l.Return(s)
		timesPublic(c.mf.Hash, 0, key, l, s)
		for p := range x.Coeffs {
			copy(x.Coeffs[p], s.X.Coeffs[p])
		}
	})
}

// plain is Encode(v, chi) without mask and noise; chi with the group key that
// every colluder holds.
func (c *coalition) plain(values []uint64) vector {
	l := c.mf.Layout
	chi := must(c.own[5].chi(c.mf, values))
	return c.wired(func(x ring.Poly) {
		s := l.Borrow()
		defer l.Return(s)
		for p := range s.X.Coeffs {
			clear(s.X.Coeffs[p])
		}
		l.Encode(s, 0, values, chi)
		for p := range x.Coeffs {
			copy(x.Coeffs[p], s.X.Coeffs[p])
		}
	})
}

// bare is an honest share with every mask taken off that the colluders know: the
// pad, and the zero masks with colluders among the decryptors.
func (c *coalition) bare(j int, contributors []int) vector {
	l := c.mf.Layout
	share := c.of(c.share(j, contributors))
	known := c.wired(func(x ring.Poly) {
		s := l.Borrow()
		defer l.Return(s)
		for p := range s.X.Coeffs {
			clear(s.X.Coeffs[p])
		}
		for _, k := range colluders {
			if k != j && slices.Contains(c.mf.Decryptors, k) {
				c.own[k].addMask(l, s, c.own[k].keys.zero[j-1], ofSet("zero", c.mf, contributors), 0, k < j)
			}
		}
		if j == c.mf.Decryptors[0] {
			m := c.own[5]
			m.addMask(l, s, must(m.keys.groupKey("pad", c.mf.Job)), ofSet("pad", c.mf, contributors), 0, false)
		}
		for p := range x.Coeffs {
			copy(x.Coeffs[p], s.X.Coeffs[p])
		}
	})
	return c.minus(share, known)
}

// interpolated is a times the secret of one member, interpolated at 0 from the
// key shares of these holders as if they were enough.
func (c *coalition) interpolated(member int, holders []int, of func(j int) *Member) vector {
	rings := of(holders[0]).ringOf(c.mf.Layout.N)
	sum := rings.preset.Ring.NewPoly()
	for _, j := range holders {
		rings.preset.Ring.Add(sum, of(j).ringOf(c.mf.Layout.N).openingKey(holders, []int{member}, j), sum)
	}
	return c.times(sum)
}

// uniform allows twelve standard deviations: there are a thousand tests, and what
// is not uniform is far beyond.
func (c *coalition) uniform(x vector) bool {
	zero := make([]uint64, c.mf.Layout.Used(0))
	for p, q := range c.mf.Layout.WirePrimes() {
		if chiSquare(x[p][:len(zero)], zero, q) > 63+12*math.Sqrt(126) {
			return false
		}
	}
	return true
}

func subsetsOf(set []int) (out [][]int) {
	for bits := range 1 << len(set) {
		var s []int
		for k, x := range set {
			if bits>>k&1 == 1 {
				s = append(s, x)
			}
		}
		out = append(out, s)
	}
	return
}

// small says whether every residue lies near zero, as noise does.
func small(c *coalition, x vector) bool {
	for p, q := range c.mf.Layout.WirePrimes() {
		for _, v := range x[p][:c.mf.Layout.Used(0)] {
			if min(v, q-v) > q>>8 {
				return false
			}
		}
	}
	return true
}

// One honest contribution, its plaintext taken off, is uniform; and it stays so
// whatever the coalition adds to it or takes from it: interpolated key shares,
// honest shares in any combination with known masks off, own shares for any set,
// the contributions of others. With one more key share it is noise: the test has
// teeth.
func TestNothingThatCollusionComputesPeelsOffAnHonestContribution(t *testing.T) {
	c := newCoalition(t, federationOf(t, 6, 3))
	contribution := c.of(c.contribution(victim))
	right := c.minus(contribution, c.plain(c.values[victim-1]))
	wrong := c.minus(contribution, c.plain(c.values[1]))

	full := []int{4, 5, 6} // t holders, one of them honest
	enough := c.interpolated(victim, full, func(j int) *Member { return c.members[j-1] })
	if !small(c, c.plus(right, enough)) || small(c, c.plus(wrong, enough)) {
		t.Fatal("with t key shares the right guess must show, and no other")
	}

	var help []vector
	zero := c.minus(right, right)
	help = append(help, zero)
	for _, holders := range [][]int{{5}, {6}, {5, 6}} { // fewer than t
		help = append(help, c.interpolated(victim, holders, func(j int) *Member { return c.own[j] }))
	}
	for _, contributors := range [][]int{c.all(), {1, 5, 6}, {1, 2, 5}} { // own share of the seat in D, for any set
		if !c.mf.MayOpen(contributors) {
			continue
		}
		help = append(help, c.times(c.own[5].ringOf(4096).openingKey(c.mf.Decryptors, contributors, 5)))
	}
	bare := map[int]vector{}
	for _, j := range honest {
		bare[j] = c.bare(j, c.all())
	}
	tried := 0
	for _, subset := range subsetsOf(honest) {
		shares := zero
		for _, j := range subset {
			shares = c.plus(shares, bare[j])
		}
		for _, others := range [][]int{nil, {2}, {2, 3, 4}, {5, 6}} {
			if len(subset) == len(honest) && len(others) == 3 {
				continue // the agreed sum, less what colluders gave
			}
			added := shares
			for _, i := range others {
				added = c.plus(added, c.minus(c.of(c.contribution(i)), c.plain(c.values[i-1])))
			}
			for _, guess := range []vector{right, wrong} {
				for _, h := range help {
					for _, sum := range []vector{c.plus(c.plus(guess, added), h), c.minus(c.plus(guess, added), h)} {
						if tried++; !c.uniform(sum) {
							t.Fatalf("shares %v, contributions %v of the others: not uniform", subset, others)
						}
					}
				}
			}
		}
	}
	t.Logf("%d combinations, all uniform", tried)
}

// The agreed sum less the colluders' own parts is the sum over the honest, and
// that is all: the combination that works opens that, and no smaller one does.
func TestTheAgreedSumLessTheirOwnIsAllThatColludersGet(t *testing.T) {
	c := newCoalition(t, federationOf(t, 6, 3))
	left := c.of(c.add(c.messages(c.all())...))
	l := c.mf.Layout
	left = c.minus(left, c.wired(func(x ring.Poly) {
		s := l.Borrow()
		defer l.Return(s)
		for p := range s.X.Coeffs {
			clear(s.X.Coeffs[p])
		}
		m := c.own[5]
		m.addMask(l, s, must(m.keys.groupKey("pad", c.mf.Job)), ofSet("pad", c.mf, c.all()), 0, false)
		for p := range x.Coeffs {
			copy(x.Coeffs[p], s.X.Coeffs[p])
		}
	}))
	for _, i := range colluders {
		left = c.minus(left, c.plain(c.values[i-1]))
	}
	for _, set := range subsetsOf(honest) {
		rest := left
		for _, i := range set {
			rest = c.minus(rest, c.plain(c.values[i-1]))
		}
		if noise := small(c, rest); noise != (len(set) == len(honest)) {
			t.Fatalf("less the plaintexts of %v: noise %v", set, noise)
		}
	}
}

// The same statistic under two manifests, and two answers of one cloned
// decryptor: differences of contributions and of shares, all known masks off,
// are uniform; the control is a resend, which differs in nothing.
func TestDifferencesOfTwoRoundsAndOfTwoAnswersSayNothing(t *testing.T) {
	f := federationOf(t, 6, 3)
	first, second := newCoalition(t, f), newCoalition(t, f)
	second.values = first.values
	expect := func(what string, x vector, uniform bool) {
		t.Helper()
		if first.uniform(x) != uniform {
			t.Errorf("%s: uniform is %v", what, !uniform)
		}
	}
	expect("a resend", first.minus(first.of(first.contribution(victim)), first.of(first.contribution(victim))), false)
	expect("two contributions", first.minus(first.of(first.contribution(victim)), first.of(second.contribution(victim))), true)
	for _, j := range honest {
		once := first.bare(j, first.all())
		expect("a share again", first.minus(once, first.bare(j, first.all())), false)
		expect("shares of two rounds", first.minus(once, second.bare(j, second.all())), true)
		other := first.bare(j, []int{1, 2, 3, 4, 5})
		expect("shares for two sets", first.minus(once, other), true)
		// The difference of the sets is colluder 6, who dealt this key share itself.
		known := first.times(f.members[j-1].ringOf(4096).openingKey(first.mf.Decryptors, []int{6}, j))
		expect("and with what is known of the difference", first.minus(first.minus(once, other), known), true)
		if j != first.mf.Decryptors[0] { // as sent: masks that do not depend on the set would cancel
			sent := first.minus(first.of(first.share(j, first.all())), first.of(first.share(j, []int{1, 2, 3, 4, 5})))
			expect("shares for two sets as sent, less what is known", first.minus(sent, known), true)
		}
	}
}

// Why the guard against differencing is needed at all: over the same values, two
// agreed sums, one with and one without the victim, differ in its plaintext.
func TestTwoSetsOverTheSameRowsWouldShowAMember(t *testing.T) {
	f := federationOf(t, 6, 3)
	with, without := newCoalition(t, f), newCoalition(t, f)
	without.values = with.values
	rest := []int{2, 3, 4, 5, 6}
	all := must(with.open(6, with.all(), with.add(with.messages(with.all())...)))
	less := must(without.open(6, rest, without.add(without.messages(rest)...)))
	for k := range all {
		if all[k]-less[k] != with.values[victim-1][k] {
			t.Fatal("the difference is not the victim's")
		}
	}
}

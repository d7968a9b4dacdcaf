package member

import (
	"math"
	"testing"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/residue"
	"fedanomaly/engine/stream"
)

// looksUniform tests differences mod q for uniformity (six standard deviations).
func looksUniform(x, y []uint64, q uint64) bool { return chiSquare(x, y, q) < 63+6*math.Sqrt(126) }

// chiSquare of differences mod q in 64 bins: 63 for uniform ones, with a standard
// deviation of the square root of 126.
func chiSquare(x, y []uint64, q uint64) float64 {
	var bins [64]float64
	for i := range x {
		bins[int(float64(residue.Sub(x[i], y[i], q))/float64(q)*64)&63]++
	}
	chi, mean := 0.0, float64(len(x))/64
	for _, n := range bins {
		chi += (n - mean) * (n - mean) / mean
	}
	return chi
}

// Without noise and data, differences between the ciphertexts of a masked sum,
// and of shares after a_c lambda sigma was taken off, look uniform. Without the
// ciphertext index in the masks they vanish: the test has teeth.
func TestCiphertextsOfAZeroSumDifferUniformly(t *testing.T) {
	for _, degree := range []int{4096, 8192} {
		f := federationOf(t, 6, 2)
		for _, careless := range []bool{false, true} {
			probe := f.round(shape{degree: degree, bits: 20, entries: 1})
			full := probe.mf.Layout.N*probe.mf.Layout.Fields*3 - len(probe.mf.Layout.MACPrimes)*probe.mf.Layout.Fields
			r := f.round(shape{degree: degree, bits: 20, entries: full}) // three full ciphertexts
			l := r.mf.Layout
			var messages [][]byte
			for _, i := range r.all() { // zeros without noise
				out := make([]byte, l.Bytes())
				check(t, r.members[i-1].contribution(r.mf, make([]uint64, full), out, func(int, []int64, []uint64) {}))
				messages = append(messages, out)
			}
			shares := map[int][]byte{}
			for _, j := range r.mf.Decryptors {
				shares[j] = r.careless(j, r.all(), variant{quiet: true, noCiphertextIndex: careless})
				messages = append(messages, shares[j])
			}
			expect := func(name string, rows func(c int) [][]uint64) {
				t.Helper()
				for c := range l.Ciphertexts {
					for d := range c {
						for j, q := range l.WirePrimes() {
							if looksUniform(rows(c)[j], rows(d)[j], q) == careless {
								t.Fatalf("N=%d %s, careless %v: ciphertexts %d and %d", l.N, name, careless, c, d)
							}
						}
					}
				}
			}
			sum := r.add(messages...)
			expect("sum", func(c int) [][]uint64 { return r.rows(sum, c) })
			for j, share := range shares {
				key := r.members[j-1].ringOf(l.N).openingKey(r.mf.Decryptors, r.all(), j)
				expect("share", func(c int) [][]uint64 {
					s := l.Borrow()
					defer l.Return(s)
					timesPublic(r.mf.Hash, c, key, l, s)
					l.Drop(s.X, l.N)
					rows := r.rows(share, c)
					for k, q := range l.WirePrimes() {
						for i := range rows[k] {
							rows[k][i] = residue.Sub(rows[k][i], s.X.Coeffs[k][i], q)
						}
					}
					return rows
				})
			}
		}
	}
}

// adversary has more than any real one: exact (unrounded) contributions, so that
// it knows K = a S_U - E and asks for the honest noise E mod 21. n = 7, t = 3,
// D = 1 .. 5; colluders 6 and 7 hold t - 1 key shares of S_U, so with Lagrange at
// j over {0, 6, 7} every honest share is
//
//	x_j = known_j + mu_j (K + E) + f_j,   mu_j = lambda_j (j - 6)(j - 7) / 42
type adversary struct {
	r     *round
	noise []int64           // E, to judge its guesses
	known map[int]ring.Poly // known_j + mu_j K
	mu    map[int][]uint64
}

func newAdversary(r *round) *adversary {
	l := r.mf.Layout
	a := &adversary{r: r, noise: make([]int64, l.N), known: map[int]ring.Poly{}, mu: map[int][]uint64{}}
	times := func(key ring.Poly) ring.Poly {
		s := l.Borrow()
		defer l.Return(s)
		timesPublic(r.mf.Hash, 0, key, l, s)
		return *s.X.CopyNew()
	}
	e := make([]int64, l.N)
	for range 5 {
		stream.New(stream.Fresh()).CentredBinomial(e)
		for i, v := range e {
			a.noise[i] += v
		}
	}
	secret := l.Ring.NewPoly()
	for _, m := range r.members {
		l.Ring.Sub(secret, m.ringOf(l.N).negS, secret)
	}
	K := times(secret)
	for j, q := range l.Primes {
		for i, v := range a.noise {
			K.Coeffs[j][i] = residue.Sub(K.Coeffs[j][i], uint64(v+int64(q))%q, q)
		}
	}
	held := map[int]ring.Poly{}
	for _, colluder := range []int{6, 7} {
		sigma := l.Ring.NewPoly()
		for _, i := range r.all() {
			l.Ring.Add(sigma, r.members[colluder-1].ringOf(l.N).shares[i-1], sigma)
		}
		held[colluder] = times(sigma)
	}
	for _, j := range r.mf.Decryptors {
		a.known[j] = l.Ring.NewPoly()
		for p, sub := range l.Ring.SubRings {
			q, barrett, x := sub.Modulus, sub.BRedConstant, int64(j)
			lambda := lagrange(r.mf.Decryptors, j, q, barrett)
			scaled := func(num, den int64) uint64 {
				residueOf := func(v int64) uint64 { return uint64((v + int64(q)) % int64(q)) }
				inverse := ring.ModExp(residueOf(den), q-2, q)
				return ring.BRed(lambda, ring.BRed(residueOf(num), inverse, q, barrett), q, barrett)
			}
			mu, with6, with7 := scaled((x-6)*(x-7), 42), scaled(x*(x-7), -6), scaled(x*(x-6), 7)
			a.mu[j] = append(a.mu[j], mu)
			for i := range l.N {
				v := residue.Add(ring.BRed(K.Coeffs[p][i], mu, q, barrett), ring.BRed(held[6].Coeffs[p][i], with6, q, barrett), q)
				a.known[j].Coeffs[p][i] = residue.Add(v, ring.BRed(held[7].Coeffs[p][i], with7, q, barrett), q)
			}
		}
	}
	return a
}

// predict is member j's share, rounded, if E were guess everywhere.
func (a *adversary) predict(j int, guess uint64) []uint64 {
	l := a.r.mf.Layout
	x := l.Ring.NewPoly()
	for p, sub := range l.Ring.SubRings {
		shift := ring.BRed(guess, a.mu[j][p], sub.Modulus, sub.BRedConstant)
		for i, v := range a.known[j].Coeffs[p] {
			x.Coeffs[p][i] = residue.Add(v, shift, sub.Modulus)
		}
	}
	l.Drop(x, l.N)
	return x.Coeffs[0]
}

// shares are all shares as the colluders see them: P, which they know, is off.
func (a *adversary) shares(v variant) map[int][]uint64 {
	l, q := a.r.mf.Layout, a.r.mf.Layout.Primes[0]
	out := map[int][]uint64{}
	for _, j := range a.r.mf.Decryptors {
		out[j] = a.r.rows(a.r.careless(j, a.r.all(), v), 0)[0]
	}
	s := l.Borrow()
	defer l.Return(s)
	m := a.r.members[5]
	m.addMask(l, s, must(m.keys.groupKey("pad", 0)), ofSet("pad", a.r.mf, a.r.all()), 0, false)
	if !v.roundFirst {
		l.Drop(s.X, l.N)
	}
	for i := range out[1] {
		out[1][i] = residue.Sub(out[1][i], s.X.Coeffs[0][i], q)
	}
	return out
}

func (a *adversary) is(i int, guess uint64) bool { return uint64((a.noise[i]+2100)%21) == guess }

func newAttackedRound(t *testing.T) *round {
	return federationOf(t, 7, 3).round(shape{degree: 4096, bits: 20, entries: (4096 - 2) * 2, decryptors: []int{1, 2, 3, 4, 5}})
}

// Single shares against t - 1 colluders: without zero masks the noise can be read
// mod 21 (and with it the key); with them, at chance level.
func TestSingleSharesSayNothing(t *testing.T) {
	a := newAdversary(newAttackedRound(t))
	n, q := a.r.mf.Layout.N, a.r.mf.Layout.Primes[0]
	hits := func(v variant) float64 {
		seen := a.shares(v)[2]
		best, nearest := make([]uint64, n), make([]uint64, n)
		for guess := range uint64(21) {
			for i, p := range a.predict(2, guess) {
				d := residue.Sub(p, seen[i], q)
				if d = min(d, q-d); guess == 0 || d < nearest[i] {
					nearest[i], best[i] = d, guess
				}
			}
		}
		right := 0
		for i := range n {
			if a.is(i, best[i]) {
				right++
			}
		}
		return float64(right) / float64(n)
	}
	without, with := hits(variant{noZeroMasks: true}), hits(variant{})
	t.Logf("noise known mod 21: %.3f without zero masks, %.3f with them (chance %.3f)", without, with, 1./21)
	if without < 0.95 {
		t.Fatal("the attack should work without zero masks")
	}
	if math.Abs(with-1./21) > 6*math.Sqrt(1./21/float64(n)) {
		t.Fatal("not at chance level")
	}
}

// If shares are rounded before they are masked, the sum of the roundings, in
// which the masks cancel, tells true from false candidates for E mod 21. Masks
// first, then rounding: it does not.
func TestRoundingBeforeMaskingLeaks(t *testing.T) {
	a := newAdversary(newAttackedRound(t))
	l, q := a.r.mf.Layout, a.r.mf.Layout.Primes[0]
	consistent := func(v variant) (right, wrong float64) {
		seen := make([]uint64, l.N)
		for _, share := range a.shares(v) {
			for i, x := range share {
				seen[i] = residue.Add(seen[i], x, q)
			}
		}
		for guess := range uint64(21) {
			sum := make([]uint64, l.N)
			for _, j := range a.r.mf.Decryptors {
				for i, x := range a.predict(j, guess) {
					sum[i] = residue.Add(sum[i], x, q)
				}
			}
			for i := range l.Coefficients {
				switch {
				case sum[i] != seen[i]:
				case a.is(i, guess):
					right++
				default:
					wrong++
				}
			}
		}
		return right / float64(l.Coefficients), wrong / float64(l.Coefficients) / 20
	}
	right, wrong := consistent(variant{roundFirst: true})
	t.Logf("rounded before masking: consistent with the true residue %.3f, with a wrong one %.3f", right, wrong)
	if right-wrong < 0.2 {
		t.Fatal("the attack should work when rounding comes first")
	}
	right, wrong = consistent(variant{})
	t.Logf("masked before rounding: consistent with the true residue %.3f, with a wrong one %.3f", right, wrong)
	if math.Abs(right-wrong) > 0.06 {
		t.Fatal("the roundings leak")
	}
}

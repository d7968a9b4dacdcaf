package scoring

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/kernel"
)

// anything draws words of an answer or of a constant: whole polynomials, and a half
// one where something is left. Many residues are the least and the largest.
func (p *preset) anything(random *rand.Rand, words int) []uint32 {
	out := make([]uint32, 0, words)
	for len(out) < words {
		each := min(p.points, (words-len(out))/p.limbs)
		for _, prime := range p.primes {
			q := uint32(prime)
			for range each {
				out = append(out, []uint32{0, 1, q - 1, q / 2, random.Uint32N(q), random.Uint32N(q)}[random.IntN(6)])
			}
		}
	}
	return out
}

func same(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}

// To the last unit, far below the noise: on amd64 Go fuses no multiplication with
// an addition either.
func TestAllSetsOpenAnythingToTheSameBits(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 12))
	for kind := range literals {
		p, err := presetOf(kind)
		if err != nil {
			t.Fatal(err)
		}
		portable := newEncryptor(p, kernel.Portable)
		for set := kernel.Portable + 1; set <= kernel.Best(); set++ {
			c := newEncryptor(p, set)
			for _, events := range []int{1, 333, p.slots - 1, p.slots, min(Events, p.slots+1), Events} {
				answer, constant := p.anything(random, answerWords(kind)), p.anything(random, constantWords(kind))
				secret := c.ring.NewSecret()
				for l, q := range p.primes {
					words := make([]uint32, p.points)
					for i := range words {
						words[i] = []uint32{0, uint32(q) - 1, random.Uint32N(uint32(q))}[random.IntN(3)]
					}
					secret.Set(c.ring, l, words)
				}
				got := opensTo(c, kind, answer, constant, secret, events)
				want := opensTo(portable, kind, answer, constant, secret, events)
				for i, v := range got.words {
					if q := uint32(p.primes[i/p.points]); v%q != want.words[i]%q {
						t.Fatalf("kind %d, %v: residue %d is %d, not %d", kind, set, i, v, want.words[i])
					}
				}
				if !same(got.values, want.values) || got.largest != want.largest {
					t.Fatalf("kind %d, %v: other coefficients", kind, set)
				}
				if !same(got.scores, want.scores) || got.least != want.least {
					t.Fatalf("kind %d, %v: other scores of %d events", kind, set, events)
				}
			}
		}
	}
}

// opened is every step of an answer that is decrypted.
type opened struct {
	words          []uint32
	values, scores []float64
	largest, least float64
}

func opensTo(c *encryptor, kind Kind, answer, constant []uint32, secret *kernel.Secret, events int) (out opened) {
	s := c.newOpening()
	c.open(kind, answer, constant, secret, s.words)
	out.words, out.scores = slices.Clone(s.words), make([]float64, events)
	out.largest = c.coefficients(s, 0x1p40)
	out.values = slices.Clone(s.values)
	out.least = c.scores(s, out.scores)
	return
}

// decrypts makes a tenant that opens answers with a set, and the key of a batch for it.
func decrypts(t testing.TB, set kernel.Set, c *Circuit, key *BatchKey) (*Tenant, *BatchKey) {
	t.Helper()
	tenant, err := NewTenant(c.Shape, seed, c.Constants())
	if err != nil {
		t.Fatal(err)
	}
	tenant.encryptor = newEncryptor(tenant.preset, set)
	return tenant, again(tenant, key)
}

// again is a key once more: the tests may open a batch as often as they like.
func again(t *Tenant, key *BatchKey) *BatchKey {
	secret := &kernel.Secret{Residues: slices.Clone(key.secret.Residues), Quotients: slices.Clone(key.secret.Quotients)}
	return &BatchKey{tenant: t, filled: key.filled, secret: secret}
}

// scored encrypts rows for a model and computes the answer.
func scored(t testing.TB, random *rand.Rand, m model, events int) (*Circuit, *BatchKey, []uint32) {
	t.Helper()
	c, tenant := pair(t, m, kernel.Best())
	batch, answer := make([]uint32, c.BatchWords()), make([]uint32, c.AnswerWords())
	key, err := tenant.Encrypt(readings(random, events*c.Features), batch)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Score(batch, answer); err != nil {
		t.Fatal(err)
	}
	return c, key, answer
}

func TestAllSetsDecryptToTheSameBits(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 12))
	for _, test := range []struct {
		m      model
		events int
	}{
		{draw(random, Quadratic, 5, 3, 1, 7), 2049},
		{draw(random, Linear, 3, 1, 1, 1, 1, 1, 1, 1), Events - 1},
		{autoencoder(random, 3, 2, 1), 77},
	} {
		c, key, answer := scored(t, random, test.m, test.events)
		var want []float64
		for set := range kernel.Best() + 1 {
			tenant, _ := decrypts(t, set, c, key)
			for range 2 { // the second time in working memory that was used and wiped
				got := make([]float64, test.events*c.Outputs)
				if err := tenant.Decrypt(again(tenant, key), answer, got); err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = got
				}
				if !same(got, want) {
					t.Fatalf("kind %d: %v decrypts otherwise than %v", c.Kind, set, kernel.Portable)
				}
			}
		}
	}
}

func TestOneResidueTooLargeSpoilsAllOutputs(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 12))
	for _, m := range []model{draw(random, Quadratic, 2, 1, 1), draw(random, Linear, 2, 1, 1, 1), autoencoder(random, 2, 1, 0)} {
		c, key, answer := scored(t, random, m, 5)
		p := c.preset
		for set := range kernel.Best() + 1 {
			for _, at := range []int{0, p.points - 1, len(answer) / 2, len(answer) - p.points/2, len(answer) - 1} {
				tenant, key := decrypts(t, set, c, key)
				bad, scores := slices.Clone(answer), slices.Repeat([]float64{1}, 5*c.Outputs)
				bad[at] = 1 << 30
				if err := tenant.Decrypt(key, bad, scores); !errors.Is(err, fault.Message) {
					t.Errorf("kind %d, %v, at %d: %v", c.Kind, set, at, err)
				}
				if slices.ContainsFunc(scores, func(v float64) bool { return v != 0 }) {
					t.Errorf("kind %d, %v, at %d: scores are left", c.Kind, set, at)
				}
			}
		}
	}
}

func TestNothingOfAnOpenedAnswerIsLeft(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 12))
	c, key, answer := scored(t, random, draw(random, Quadratic, 2, 2), 100)
	for set := range kernel.Best() + 1 {
		tenant, key := decrypts(t, set, c, key)
		var used *opening
		tenant.openings.New = func() any { used = tenant.encryptor.newOpening(); return used }
		if err := tenant.Decrypt(key, answer, make([]float64, 100)); err != nil {
			t.Fatal(err)
		}
		left := slices.ContainsFunc(used.words, func(v uint32) bool { return v != 0 })
		left = left || slices.ContainsFunc(used.values, func(v float64) bool { return v != 0 })
		left = left || slices.ContainsFunc(used.slots, func(v complex128) bool { return v != 0 })
		for _, row := range used.poly.Coeffs {
			left = left || slices.ContainsFunc(row, func(v uint64) bool { return v != 0 })
		}
		if left {
			t.Errorf("%v: a polynomial, coefficients or scores are left", set)
		}
	}
}

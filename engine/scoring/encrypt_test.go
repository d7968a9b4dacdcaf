package scoring

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/kernel"
	"fedanomaly/engine/stream"
)

// plainly encrypts as it is written: one feature and one prime after the other,
// with Lattigo's transforms.
func plainly(p *preset, rows []float64, features int, a []uint32, random *stream.Stream) ([]uint32, ring.Poly) {
	n, events := p.ring.N(), len(rows)/features
	out, secret := make([]uint32, p.limbs*n*features), p.ring.NewPoly()
	random.Ternary(secret.Coeffs, p.primes)
	keys := make([]stream.Key, features)
	for i := range keys {
		keys[i] = random.Key()
	}
	p.ring.NTT(secret, secret)
	slots, noise, c := make([]complex128, n/2), make([]int64, n), make([]uint64, n)
	for i := range features {
		reading := func(e int) float64 {
			if e < events {
				return rows[e*features+i]
			}
			return 0
		}
		for e := range slots {
			slots[e] = complex(reading(e), reading(e+n/2))
		}
		p.encoder.IFFT(slots, bits.Len(uint(n/2-1)))
		stream.New(keys[i]).CentredBinomial(noise)
		for e, v := range slots {
			noise[e] += int64(math.RoundToEven(real(v) * p.scale()))
			noise[e+n/2] += int64(math.RoundToEven(imag(v) * p.scale()))
		}
		for l, q := range p.primes {
			for j, v := range noise {
				c[j] = uint64(v+int64(q)) % q
			}
			sub := p.ring.SubRings[l]
			sub.NTT(c, c)
			for j, v := range c {
				at := ((l*n+j/kernel.Block*kernel.Block)*features + i*kernel.Block) + j%kernel.Block
				as := uint64(a[at]) * secret.Coeffs[l][j] % q
				out[at] = uint32((v + q - as) % q)
			}
		}
	}
	return out, secret
}

// The coefficients are rounded from an FFT, which would be allowed to differ in
// the last unit, far below the noise. It does not on amd64, where Go fuses no
// multiplication with an addition either.
func TestAllSetsEncryptToTheSameBits(t *testing.T) {
	random := rand.New(rand.NewPCG(10, 2))
	for _, kind := range []Kind{Linear, Quadratic, Polynomial} {
		p, err := presetOf(kind)
		if err != nil {
			t.Fatal(err)
		}
		events := Events
		for _, shape := range [][2]int{{1, 1}, {2, events}, {3, events/2 - 1}, {8, events/2 + 1}, {9, 100}, {17, events - 1}, {30, events}} {
			rows := readings(random, shape[0]*shape[1])
			for i := range rows {
				if random.IntN(3) == 0 || shape[0] == 2 {
					rows[i] = MaxReading * float64(1-2*random.IntN(2))
				}
			}
			key := stream.Fresh()
			a := p.public(seed, shape[0])
			want, secret := plainly(p, rows, shape[0], a, stream.New(key))
			for set := range kernel.Best() + 1 {
				c := newEncryptor(p, set)
				got, s := make([]uint32, len(want)), c.newScratch(shape[0])
				kept, err := c.encrypt(rows, shape[0], a, stream.New(key), s, got)
				if err != nil {
					t.Fatal(err)
				}
				same := slices.EqualFunc(kept.Residues, slices.Concat(secret.Coeffs...), func(a uint32, b uint64) bool { return uint64(a) == b })
				if !slices.Equal(got, want) || !same {
					t.Fatalf("%v, %v: other bits", set, shape)
				}
				// The same working memory, used, wiped and used again.
				s.wipe()
				if c.encrypt(rows, shape[0], a, stream.New(key), s, got); !slices.Equal(got, want) {
					t.Fatalf("%v, %v: other bits the second time", set, shape)
				}
			}
		}
	}
}

func TestNothingOfABatchIsLeft(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 2))
	_, tenant := pair(t, draw(random, Quadratic, 11, 2), kernel.Best())
	p := tenant.preset
	for set := kernel.Portable; set <= kernel.Best(); set++ {
		c := newEncryptor(p, set)
		s, out := c.newScratch(11), make([]uint32, tenant.BatchWords())
		if _, err := c.encrypt(readings(random, 11*Events), 11, tenant.public, stream.New(stream.Fresh()), s, out); err != nil {
			t.Fatal(err)
		}
		s.wipe()
		left := slices.ContainsFunc(s.keys, func(key stream.Key) bool { return key != stream.Key{} })
		for range len(s.tiles) {
			b := <-s.tiles
			left = left || slices.ContainsFunc(b.random, func(v uint64) bool { return v != 0 })
			left = left || slices.ContainsFunc(b.noise, goesOn)
		}
		left = left || slices.ContainsFunc(s.word, func(v uint32) bool { return v != 0 })
		for _, row := range s.secret.Coeffs {
			left = left || slices.ContainsFunc(row, func(v uint64) bool { return v != 0 })
		}
		for i := range tile {
			left = left || slices.ContainsFunc(s.whole[i], func(v int64) bool { return v != 0 })
		}
		if left {
			t.Errorf("%v: secrets, keys, noise or coefficients are left", set)
		}
	}
}

// goesOn is whether a stream still has words.
func goesOn(s *stream.Stream) (yes bool) {
	defer func() { yes = recover() == nil }()
	s.Word()
	return
}

func BenchmarkSets(b *testing.B) {
	random := rand.New(rand.NewPCG(11, 2))
	p, err := presetOf(Quadratic)
	if err != nil {
		b.Fatal(err)
	}
	const features = 30
	rows, a := readings(random, features*p.ring.N()), p.public(seed, features)
	out := make([]uint32, len(a))
	for set := range kernel.Best() + 1 {
		b.Run(set.String(), func(b *testing.B) {
			c := newEncryptor(p, set)
			s, random := c.newScratch(features), stream.New(stream.Fresh())
			for b.Loop() {
				c.encrypt(rows, features, a, random, s, out)
			}
			b.ReportMetric(float64(b.N)*float64(p.ring.N())/b.Elapsed().Seconds()/1e6, "Mevents/s")
		})
	}
	b.Run("lattigo's transforms only", func(b *testing.B) {
		c := p.ring.NewPoly()
		for b.Loop() {
			for range features {
				p.ring.NTT(c, c)
			}
		}
	})
	b.Run("as written", func(b *testing.B) {
		random := stream.New(stream.Fresh())
		for b.Loop() {
			plainly(p, rows, features, a, random)
		}
	})
}

func BenchmarkDecrypt(b *testing.B) {
	random := rand.New(rand.NewPCG(12, 2))
	for _, m := range []model{draw(random, Quadratic, 30, 10), draw(random, Linear, 30, 1), autoencoder(random, 30, 10, 0)} {
		for set := range kernel.Best() + 1 {
			b.Run(fmt.Sprintf("kind=%d/%v", m.Kind, set), func(b *testing.B) {
				c, key, answer := scored(b, random, m, Events-1)
				tenant, key := decrypts(b, set, c, key)
				scores := make([]float64, Events-1)
				for b.Loop() {
					if err := tenant.Decrypt(again(tenant, key), answer, scores); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

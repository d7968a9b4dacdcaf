package scoring

import (
	"math"
	"math/bits"
	"runtime"

	"github.com/tuneinsight/lattigo/v6/ring"
	"github.com/tuneinsight/lattigo/v6/schemes/ckks"

	"fedanomaly/engine/kernel"
	"fedanomaly/engine/stream"
	"fedanomaly/engine/workers"
)

// tile is how many features the portable path encrypts at a time: one cache line
// of a row of readings, and 512 bytes side by side in a batch instead of 64.
const tile = 8

// encryptor has the tables to encrypt and decrypt with: those of the kernels, or
// moduli for the portable path.
type encryptor struct {
	preset *preset
	set    kernel.Set
	ring   *kernel.Ring
	moduli []modulus
}

func newEncryptor(p *preset, set kernel.Set) *encryptor {
	roots := p.roots()
	c := &encryptor{preset: p, set: set, ring: kernel.NewRing(set, p.primes, roots, turns(p.ring.N()))}
	if set == kernel.Portable {
		c.moduli = p.moduli(roots)
	}
	return c
}

// roots are those of Lattigo's transforms, no longer in Montgomery form.
func (p *preset) roots() (all [][]uint64) {
	for _, sub := range p.ring.SubRings[:p.limbs] {
		plain := make([]uint64, len(sub.RootsForward))
		for i, w := range sub.RootsForward {
			plain[i] = ring.IMForm(w, sub.Modulus, sub.MRedConstant)
		}
		all = append(all, plain)
	}
	return
}

// turns are the twiddles of Lattigo's inverse FFT, in the order in which it uses
// them: those of the stage with h butterflies from h on.
func turns(n int) []complex128 {
	roots, out := ckks.GetRootsComplex128(2*n), make([]complex128, n/2)
	for h := 1; h < len(out); h *= 2 {
		power := 1
		for j := range h {
			out[h+j] = roots[(8*h-power%(8*h))*(n/4/h)]
			power = power * int(ckks.GaloisGen) % (2 * n)
		}
	}
	return out
}

// modulus is what one portable transform is done by: two primes where it can be,
// because 60 bits cost no more than 30. By the Chinese remainder theorem a root of
// -1 modulo each is one modulo the product.
type modulus struct {
	limbs   int
	q, mred uint64
	roots   []uint64 // Montgomery form
}

func (p *preset) moduli(roots [][]uint64) (all []modulus) {
	for l := 0; l < p.limbs; l += 2 {
		m := modulus{limbs: min(2, p.limbs-l), q: p.primes[l], roots: make([]uint64, len(roots[l]))}
		copy(m.roots, roots[l])
		if m.limbs == 2 {
			low, high := p.primes[l], p.primes[l+1]
			m.q *= high
			inverse := ring.ModExp(low%high, high-2, high)
			for i, w := range m.roots {
				m.roots[i] += low * ((roots[l+1][i] + high - w%high) % high * inverse % high)
			}
		}
		m.mred = ring.GenMRedConstant(m.q)
		for i, w := range m.roots {
			_, m.roots[i] = bits.Div64(w, 0, m.q)
		}
		all = append(all, m)
	}
	return
}

// scratch is the working memory of one call that encrypts. It has held plaintext,
// so it is cleared before it is given back.
type scratch struct {
	keys   []stream.Key // of the noise of every feature
	tiles  chan *bench  // those that no core has
	secret ring.Poly
	word   []uint32

	slots   []complex128    // the portable path's,
	columns [tile][]float64 // readings of some features,
	whole   [tile][]int64   // their coefficients
	points  [tile][]uint64  // and transforms
}

// bench is what one core works on.
type bench struct {
	kernel.Tile
	noise  []*stream.Stream // of each lane
	random []uint64         // span of their words
}

// span is how many words of every stream of noise are drawn at a time: as many as
// a stream buffers, and of all lanes few enough for the nearest cache.
const span = 512

func (c *encryptor) newScratch(features int) *scratch {
	n := c.preset.ring.N()
	s := &scratch{keys: make([]stream.Key, features), secret: c.preset.ring.NewPoly(), word: make([]uint32, n)}
	if c.set != kernel.Portable {
		s.tiles = make(chan *bench, runtime.GOMAXPROCS(0))
		for range cap(s.tiles) {
			lanes := kernel.Lanes(c.set)
			b := &bench{Tile: c.ring.NewTile(), random: make([]uint64, lanes*span)}
			for range lanes {
				b.noise = append(b.noise, new(stream.Stream))
			}
			s.tiles <- b
		}
		return s
	}
	s.slots = make([]complex128, n/2)
	for i := range tile {
		s.columns[i], s.whole[i], s.points[i] = make([]float64, n), make([]int64, n), make([]uint64, n)
	}
	return s
}

func (s *scratch) wipe() {
	clear(s.keys)
	for range len(s.tiles) {
		b := <-s.tiles
		b.Wipe()
		for _, noise := range b.noise {
			noise.Wipe()
		}
		clear(b.random)
		s.tiles <- b
	}
	for _, c := range s.secret.Coeffs {
		clear(c)
	}
	clear(s.word)
	clear(s.slots)
	for i := range tile {
		clear(s.columns[i])
		clear(s.whole[i])
		clear(s.points[i])
	}
}

// encrypt writes c0 = NTT(m + e) - a s of rows that were checked, and returns s. A
// kernel's features are spread over the cores.
func (c *encryptor) encrypt(rows []float64, features int, a []uint32, random *stream.Stream, s *scratch, out []uint32) (*kernel.Secret, error) {
	p := c.preset
	random.Ternary(s.secret.Coeffs, p.primes)
	for i := range s.keys {
		s.keys[i] = random.Key()
	}
	if c.set == kernel.Portable {
		secret := c.transform(s)
		noise := new(stream.Stream)
		defer noise.Wipe()
		for first := 0; first < features; first += tile {
			count := min(tile, features-first)
			s.gather(rows, features, first, count)
			for i := range count {
				noise.Restart(s.keys[first+i])
				noise.CentredBinomial(s.whole[i])
				c.encode(s.columns[i], s.slots, s.whole[i])
			}
			c.mask(s, a, features, first, count, out)
		}
		return secret, nil
	}
	var secret *kernel.Secret
	transformed := make(chan struct{})
	lanes := kernel.Lanes(c.set)
	err := workers.Each(1+(features+lanes-1)/lanes, func(i int) {
		if i == 0 { // begun first, so nobody waits for what nobody does
			defer close(transformed)
			secret = c.transform(s)
			return
		}
		b := <-s.tiles
		defer func() { s.tiles <- b }()
		first := (i - 1) * lanes
		count := min(lanes, features-first)
		c.noise(s.keys[first:first+count], b)
		c.ring.Encode(p.scale(), rows, features, first, count, b.Tile)
		<-transformed
		c.ring.Mask(b.Tile, secret, a, features, first, count, out)
	})
	if err != nil {
		if secret != nil {
			secret.Wipe()
		}
		return nil, err
	}
	return secret, nil
}

// transform takes the secret to the points of the NTT.
func (c *encryptor) transform(s *scratch) *kernel.Secret {
	if c.set == kernel.Portable {
		c.preset.ring.NTT(s.secret, s.secret)
	}
	secret := c.ring.NewSecret()
	for l, row := range s.secret.Coeffs {
		for i, v := range row {
			s.word[i] = uint32(v)
		}
		if c.set != kernel.Portable {
			c.ring.Forward(l, s.word)
		}
		secret.Set(c.ring, l, s.word)
	}
	return secret
}

// noise writes the noise of some features to a tile.
func (c *encryptor) noise(keys []stream.Key, b *bench) {
	for i, key := range keys {
		b.noise[i].Restart(key)
	}
	random := b.random[:len(keys)*span]
	for first := 0; first < c.preset.ring.N(); first += span {
		for i := range keys {
			b.noise[i].Words(random[i*span : (i+1)*span])
		}
		c.ring.Noise(random, len(keys), first, b.Tile)
	}
}

// gather turns features of the rows into columns, a few rows at a time so that
// each of their cache lines is fetched once.
func (s *scratch) gather(rows []float64, features, first, count int) {
	n := len(rows) / features
	for from := 0; from < n; from += 32 {
		for i, column := range s.columns[:count] {
			at := from*features + first + i
			for e := from; e < min(from+32, n); e++ {
				column[e] = rows[at]
				at += features
			}
		}
	}
	for _, column := range s.columns[:count] {
		clear(column[n:])
	}
}

// encode adds the coefficients of a column to whole. Event e is the real part of
// slot e, or the imaginary part of slot e - N/2.
func (c *encryptor) encode(column []float64, slots []complex128, whole []int64) {
	re, im, scale := whole[:len(slots)], whole[len(slots):], c.preset.scale()
	for i := range slots {
		slots[i] = complex(column[i], column[i+len(slots)])
	}
	c.preset.encoder.IFFT(slots, bits.Len(uint(len(slots)-1))) // fails for another length only
	for i, v := range slots {
		re[i] += int64(math.RoundToEven(real(v) * scale))
		im[i] += int64(math.RoundToEven(imag(v) * scale))
	}
}

// mask writes c0 of some features, block by block because that is how they lie.
func (c *encryptor) mask(s *scratch, a []uint32, features, first, count int, out []uint32) {
	n, l := c.preset.ring.N(), 0
	for _, m := range c.moduli {
		for i, whole := range s.whole[:count] {
			to := s.points[i]
			for j, v := range whole {
				to[j] = uint64(v) + m.q&uint64(v>>63)
			}
			ring.NTTStandardLazy(to, to, n, m.q, m.mred, m.roots)
		}
		for range m.limbs {
			q := c.preset.primes[l]
			inverse := ^uint64(0) / q
			for p := 0; p < n; p += kernel.Block {
				at := (l*n+p)*features + first*kernel.Block
				key := (*[kernel.Block]uint64)(s.secret.Coeffs[l][p:])
				for i := range count {
					hide((*[kernel.Block]uint64)(s.points[i][p:]), key, (*[kernel.Block]uint32)(a[at:]), q, inverse,
						(*[kernel.Block]uint32)(out[at:]))
					at += kernel.Block
				}
			}
			l++
		}
	}
}

// hide writes x - a s mod q, for x < 2^63 and all others below q < 2^30.
func hide(x, s *[kernel.Block]uint64, a *[kernel.Block]uint32, q, inverse uint64, out *[kernel.Block]uint32) {
	square := q * q
	for k := range out {
		v := x[k] + square - uint64(a[k])*s[k]
		times, _ := bits.Mul64(v, inverse)
		v -= times * q
		v -= q & -((q - 1 - v) >> 63)
		out[k] = uint32(v)
	}
}

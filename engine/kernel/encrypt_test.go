package kernel

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tuneinsight/lattigo/v6/ring"
)

// lattigo makes a ring with its tables. The primes are those next below 2^30.
func lattigo(t testing.TB, set Set, points, limbs int) (*ring.Ring, *Ring) {
	t.Helper()
	var primes []uint64
	for q := uint64(1)<<30 + 1 - 2*uint64(points); len(primes) < limbs; q -= 2 * uint64(points) {
		if ring.IsPrime(q) {
			primes = append(primes, q)
		}
	}
	r, err := ring.NewRing(points, primes)
	if err != nil {
		t.Fatal(err)
	}
	roots := make([][]uint64, len(primes))
	for l, sub := range r.SubRings {
		for _, w := range sub.RootsForward {
			roots[l] = append(roots[l], ring.IMForm(w, sub.Modulus, sub.MRedConstant))
		}
	}
	turns := make([]complex128, points/2)
	for i := range turns {
		turns[i] = complex(math.Cos(float64(i)), math.Sin(float64(i)))
	}
	return r, NewRing(set, primes, roots, turns)
}

// polynomials are some at random, and those with the largest and least sums.
func polynomials(random *rand.Rand, points int, q uint64) (all [][]uint64) {
	for kind := range 7 {
		x := make([]uint64, points)
		for i := range x {
			switch kind {
			case 0, 1:
				x[i] = random.Uint64N(q)
			case 2:
				x[i] = q - 1
			case 3:
				x[i] = (q - 1) * uint64(i%2)
			case 4:
				x[i] = (q - 1) * random.Uint64N(2)
			case 5:
				x[i] = q / 2
			}
		}
		if kind == 6 {
			x[random.IntN(points)] = q - 1
		}
		all = append(all, x)
	}
	return
}

func TestForwardIsLattigosTransform(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 1))
	for _, points := range []int{4096, 8192} {
		for _, set := range sets()[1:] {
			theirs, ours := lattigo(t, set, points, 6)
			for l, sub := range theirs.SubRings {
				for kind, x := range polynomials(random, points, sub.Modulus) {
					want := make([]uint64, points)
					sub.NTT(x, want)
					got := make([]uint32, points)
					for i, v := range x {
						got[i] = uint32(v)
					}
					ours.Forward(l, got)
					for i, v := range got {
						if uint64(v) != want[i] {
							t.Fatalf("%v: polynomial %d, prime %d, point %d is %d, not %d", set, kind, l, i, v, want[i])
						}
					}
				}
			}
		}
	}
}

func TestMaskIsTheTransformMinusAS(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 1))
	for _, points := range []int{4096, 8192} {
		for _, set := range sets()[1:] {
			theirs, ours := lattigo(t, set, points, 6)
			lanes := Lanes(set)
			for _, shape := range [][3]int{{1, 0, 1}, {lanes, 0, lanes}, {lanes + 3, 3, lanes}, {2 * lanes, 5, lanes - 1}} {
				features, first, count := shape[0], shape[1], shape[2]
				tile, secret := ours.NewTile(), ours.NewSecret()
				for i := range tile.whole {
					// As large as a coefficient may be on one side, and beyond any reading on the other.
					tile.whole[i] = []int32{1<<30 - 1<<20, 1<<20 - 1<<30, 0, -1, random.Int32()>>1 - 1<<29}[random.IntN(5)]
				}
				a, out, s := make([]uint32, 6*points*features), make([]uint32, 6*points*features), make([]uint32, points)
				for l, sub := range theirs.SubRings {
					q := uint32(sub.Modulus)
					for i := range s {
						s[i] = []uint32{0, 1, q - 1, random.Uint32N(q)}[random.IntN(4)]
					}
					secret.Set(ours, l, s)
					for i := range points * features {
						a[l*points*features+i] = []uint32{0, 1, q - 1, random.Uint32N(q)}[random.IntN(4)]
					}
				}
				ours.Mask(tile, secret, a, features, first, count, out)
				want, c := make([]uint32, len(out)), make([]uint64, points)
				for l, sub := range theirs.SubRings {
					for i := range count {
						for n := range c {
							c[n] = uint64(int64(tile.whole[n*lanes+i]) + int64(sub.Modulus))
						}
						sub.NTT(c, c)
						for n, v := range c {
							at := (l*points+n/Block*Block)*features + (first+i)*Block + n%Block
							as := uint64(a[at]) * uint64(secret.Residues[l*points+n]) % sub.Modulus
							want[at] = uint32((v + sub.Modulus - as) % sub.Modulus)
						}
					}
				}
				if !slices.Equal(out, want) {
					t.Fatalf("%v %v at %d points: other bits", set, shape, points)
				}
			}
		}
	}
}

// inverse is the FFT as it is defined, stage by stage.
func inverse(z, turns []complex128) {
	for h := len(z) / 2; h > 0; h /= 2 {
		for i := 0; i < len(z); i += 2 * h {
			for j := range h {
				a, b := z[i+j], z[i+j+h]
				z[i+j], z[i+j+h] = a+b, (a-b)*turns[h+j]
			}
		}
	}
}

func TestEncodeIsTheRoundedFFTPlusNoise(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 1))
	for _, points := range []int{4096, 8192} {
		slots := points / 2
		for _, set := range sets()[1:] {
			_, r := lattigo(t, set, points, 6)
			lanes := Lanes(set)
			for _, shape := range [][4]int{{1, 0, 1, 1}, {lanes, 0, lanes, points}, {lanes + 5, 2, lanes - 1, slots + 1}, {3, 1, 2, slots - 1}} {
				features, first, count, events := shape[0], shape[1], shape[2], shape[3]
				rows, noise := make([]float64, events*features), make([]uint64, count*points)
				for i := range rows {
					rows[i] = []float64{64, -64, random.NormFloat64()}[random.IntN(3)]
				}
				for i := range noise {
					noise[i] = []uint64{0, 1<<64 - 1, 1<<21 - 1, 1<<42 - 1<<21, random.Uint64()}[random.IntN(5)]
				}
				tile := r.NewTile()
				r.Noise(part(noise, count, 0, points/2), count, 0, tile)
				r.Noise(part(noise, count, points/2, points), count, points/2, tile)
				r.Encode(1<<23, rows, features, first, count, tile)
				z := make([]complex128, slots)
				for i := range count {
					for e := range points {
						var v float64
						if e < events {
							v = rows[e*features+first+i]
						}
						if e < slots {
							z[e] = complex(v, 0)
						} else {
							z[e-slots] = complex(real(z[e-slots]), v)
						}
					}
					inverse(z, r.turns)
					for n := range points {
						v := real(z[r.order[n%slots]])
						if n >= slots {
							v = imag(z[r.order[n%slots]])
						}
						word := noise[i*points+n]
						want := int(math.RoundToEven(v*(1<<23)/float64(slots))) +
							bits.OnesCount64(word&(1<<21-1)) - bits.OnesCount64(word>>21&(1<<21-1))
						if got := int(tile.whole[n*lanes+i]); got != want {
							t.Fatalf("%v %v: coefficient %d of %d is %d, not %d", set, shape, n, i, got, want)
						}
					}
				}
			}
		}
	}
}

// part is columns [from, to) of some rows that lie one behind the other.
func part(words []uint64, rows, from, to int) (out []uint64) {
	for row := range slices.Chunk(words, len(words)/rows) {
		out = append(out, row[from:to]...)
	}
	return
}

func TestNothingSecretIsLeft(t *testing.T) {
	for _, set := range sets()[1:] {
		_, r := lattigo(t, set, 4096, 6)
		tile, secret := r.NewTile(), r.NewSecret()
		secret.Set(r, 5, slices.Repeat([]uint32{7}, 4096))
		r.Noise(make([]uint64, 4096), 1, 0, tile)
		r.Encode(1<<23, []float64{5}, 1, 0, 1, tile)
		tile.Wipe()
		secret.Wipe()
		for _, held := range [][]uint32{secret.Residues, secret.Quotients} {
			if slices.ContainsFunc(held, func(v uint32) bool { return v != 0 }) {
				t.Errorf("%v: a secret is left", set)
			}
		}
		if slices.ContainsFunc(tile.whole, func(v int32) bool { return v != 0 }) ||
			slices.ContainsFunc(tile.work, func(v float64) bool { return v != 0 }) {
			t.Errorf("%v: plaintext is left", set)
		}
	}
}

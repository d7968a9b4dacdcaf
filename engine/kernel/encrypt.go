package kernel

// #include "encrypt.h"
import "C"
import (
	"math/bits"
	"unsafe"
)

// Ring holds the tables of a negacyclic NTT modulo several primes below 2^30, and
// of the FFT that encodes readings, for one set. Immutable.
type Ring struct {
	set              Set
	points           int
	primes           []uint32
	roots, quotients []uint32 // [limb][point], and floor(root 2^32 / prime)
	turns            []complex128
	order            []int32 // bit reversal of half of the points
	back             backward
}

// NewRing makes tables of roots [limb][point], powers of a root of -1 in
// bit-reversed order, and of the FFT's turns: those of the stage with h butterflies
// at h to 2h.
func NewRing(set Set, primes []uint64, roots [][]uint64, turns []complex128) *Ring {
	r := &Ring{set: set, points: 2 * len(turns), turns: turns, order: make([]int32, len(turns))}
	for l, q := range primes {
		r.primes = append(r.primes, uint32(q))
		for _, w := range roots[l] {
			r.roots = append(r.roots, uint32(w))
			r.quotients = append(r.quotients, uint32(w<<32/q))
		}
	}
	shift := 64 - bits.Len(uint(len(turns)-1))
	for i := range r.order {
		r.order[i] = int32(bits.Reverse64(uint64(i)) >> shift)
	}
	r.back = r.backward()
	return r
}

// Lanes is how many features one call takes at most.
func Lanes(set Set) int { return int(C.fa_encrypt_lanes(C.int(set))) }

// Forward is the NTT of one polynomial of reduced coefficients, in place. Points
// come in bit-reversed order, reduced. There is no portable version: Lattigo's
// does the same.
func (r *Ring) Forward(limb int, x []uint32) {
	at := limb * r.points
	C.fa_encrypt_forward(C.int(r.set), C.int(r.points), C.uint32_t(r.primes[limb]), words(r.roots[at:]),
		words(r.quotients[at:]), words(x[:r.points]))
}

// Secret is a ring element at the points of the NTT, [limb][point], with the
// quotients that multiply by it quickly. Both are secret.
type Secret struct{ Residues, Quotients []uint32 }

// NewSecret returns one that has room for an element.
func (r *Ring) NewSecret() *Secret {
	return &Secret{make([]uint32, len(r.roots)), make([]uint32, len(r.roots))}
}

// Set takes reduced residues of one limb over.
//
// A quotient may come out 1 too small, which the 2 bits between a residue and a
// word leave room for: the product stays below 2q.
func (s *Secret) Set(r *Ring, limb int, residues []uint32) {
	at := limb * r.points
	inverse := ^uint64(0) / uint64(r.primes[limb])
	quotients := s.Quotients[at : at+r.points]
	for i, v := range residues[:r.points] {
		high, _ := bits.Mul64(uint64(v)<<32, inverse)
		quotients[i] = uint32(high)
	}
	copy(s.Residues[at:at+r.points], residues)
}

// Wipe forgets it.
func (s *Secret) Wipe() {
	clear(s.Residues)
	clear(s.Quotients)
}

// Tile is the working memory of the features that one call takes. It holds
// plaintext and noise, so it has to be wiped.
type Tile struct {
	whole []int32   // [point][lane]
	work  []float64 // of one FFT, or of the NTT of all lanes
}

// NewTile returns one.
func (r *Ring) NewTile() Tile {
	lanes := Lanes(r.set)
	return Tile{make([]int32, r.points*lanes), make([]float64, r.points*lanes/2)}
}

// Wipe forgets it.
func (t Tile) Wipe() {
	clear(t.whole)
	clear(t.work)
}

// Noise writes the centred binomial noise of `count` features made of random words
// [count][point], from point `first` on.
func (r *Ring) Noise(random []uint64, count, first int, t Tile) {
	points := len(random) / count
	C.fa_encrypt_noise(C.int(r.set), C.int(points), C.int(count), (*C.uint64_t)(&random[0]),
		(*C.int32_t)(&t.whole[:(first+points)*Lanes(r.set)][first*Lanes(r.set)]))
}

// Encode turns the readings [event][features] of features [first, first+count)
// into whole coefficients at a scale and adds them to the noise. Missing events are
// 0.
//
// The coefficients are those of Lattigo's encoder to the last bit: same
// butterflies, same order, nothing fused.
func (r *Ring) Encode(scale float64, rows []float64, features, first, count int, t Tile) {
	C.fa_encrypt_encode(C.int(r.set), C.int(r.points), (*C.double)(unsafe.Pointer(&r.turns[0])), (*C.int32_t)(&r.order[0]),
		C.double(scale/float64(len(r.turns))), doubles(rows[first:]), C.int(len(rows)/features), C.int(features),
		C.int(count), doubles(t.work), (*C.int32_t)(&t.whole[0]))
}

// Mask writes NTT(m) - a s of an encoded tile into out, both in the layout of a
// batch: [limb][point / 16][feature][16].
func (r *Ring) Mask(t Tile, secret *Secret, a []uint32, features, first, count int, out []uint32) {
	size := len(r.roots) * features
	C.fa_encrypt_mask(C.int(r.set), C.int(len(r.primes)), C.int(r.points), words(r.primes), words(r.roots),
		words(r.quotients), words(secret.Residues), words(secret.Quotients), (*C.int32_t)(&t.whole[0]),
		words(a[:size][first*Block:]), C.int(features), C.int(count), (*C.uint32_t)(unsafe.Pointer(&t.work[0])), words(out[:size][first*Block:]))
}

func words(x []uint32) *C.uint32_t { return (*C.uint32_t)(&x[0]) }

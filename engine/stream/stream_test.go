package stream

import (
	"math"
	"testing"

	"github.com/tuneinsight/lattigo/v6/core/rlwe"
	"github.com/tuneinsight/lattigo/v6/ring"
	"github.com/tuneinsight/lattigo/v6/utils/sampling"

	"fedanomaly/engine/residue"
)

// Rejection is hardly ever met with NTT primes, so it is tested with small ones,
// against a plain reading of the same words. 97 rejects 31 of 128.
func TestUniformSkipsWhatIsTooLarge(t *testing.T) {
	for q, mask := range map[uint64]uint64{2: 1, 97: 127, 129: 255, 1<<31 - 1: 1<<31 - 1, 1<<60 + 33: 1<<61 - 1} {
		key := Fresh()
		got, want := make([]uint64, 5000), New(key)
		New(key).Uniform(got, q)
		for i, g := range got {
			v := want.Word() & mask
			for v >= q {
				v = want.Word() & mask
			}
			if v != g {
				t.Fatal("another value", q, i)
			}
		}
	}
}

func TestUniformIsUniform(t *testing.T) {
	const q = 97
	out, bins := make([]uint64, 97*2000), [q]float64{}
	New(Fresh()).Uniform(out, q)
	for _, v := range out {
		bins[v]++
	}
	chi := 0.0
	for _, n := range bins {
		chi += (n - 2000) * (n - 2000) / 2000
	}
	if chi > q-1+6*math.Sqrt(2*(q-1)) {
		t.Fatal("chi-square", chi)
	}
}

func TestAddUniformCancelsItsOpposite(t *testing.T) {
	key, x, tmp := Fresh(), []uint64{0, 1, 95, 96}, make([]uint64, 9)
	New(key).AddUniform(x, 97, false, tmp)
	New(key).AddUniform(x, 97, true, tmp)
	for i, want := range []uint64{0, 1, 95, 96} {
		if x[i] != want {
			t.Fatal(x)
		}
	}
}

// Words come in the same order whatever portions they are read in.
func TestWordsAreOneStream(t *testing.T) {
	key := Fresh()
	whole, parts := make([]uint64, 3000), New(key)
	New(key).Words(whole)
	for at := 0; at < len(whole); {
		n := min(1+at%700, len(whole)-at)
		piece := make([]uint64, n)
		if parts.Words(piece[1:]); n > 1 {
			copy(piece, piece[1:])
		}
		piece[n-1] = parts.Word()
		for i, v := range piece {
			if v != whole[at+i] {
				t.Fatal("differs", at+i)
			}
		}
		at += n
	}
}

func TestRestartIsAnotherStreamAndWipeLeavesNothing(t *testing.T) {
	key, other := Fresh(), Fresh()
	s := New(other)
	s.Word()
	s.Restart(key)
	if want := New(key); s.Key() != want.Key() || s.Word() != want.Word() {
		t.Error("another stream than that of the key")
	}
	s.Wipe()
	if s.buf != ([4096]byte{}) || s.ctr != nil {
		t.Error("something is left")
	}
}

// Our ternary sampler is independent and uniform; Lattigo's default is not.
func TestTernaryIsIndependent(t *testing.T) {
	const n, repeats = 8192, 30
	primes := []uint64{1<<55 - 311295, 97}
	measure := func(fill func(row []uint64)) (gap float64, share [3]float64) {
		var after, zeroAfter [2]float64
		row := make([]uint64, n)
		for range repeats {
			fill(row)
			for i, v := range row {
				k := int(min(v, 2))
				share[k] += 1. / (repeats * n)
				if k > 0 && i+1 < n {
					after[k-1]++
					if row[i+1] == 0 {
						zeroAfter[k-1]++
					}
				}
			}
		}
		return zeroAfter[0]/after[0] - zeroAfter[1]/after[1], share
	}
	words := New(Fresh())
	ours, share := measure(func(row []uint64) {
		other := make([]uint64, n)
		words.Ternary([][]uint64{row, other}, primes)
		for i, v := range row {
			if v > 1 && (v != primes[0]-1 || other[i] != primes[1]-1) || v <= 1 && other[i] != v {
				t.Fatal("not one ternary sequence mod both primes")
			}
		}
	})
	rq := must(ring.NewRing(n, []uint64{0x7fffffffe90001}))
	lattigo := must(ring.NewSampler(must(sampling.NewPRNG()), rq, rlwe.DefaultXs, false))
	theirs, _ := measure(func(row []uint64) {
		x := rq.NewPoly()
		lattigo.Read(x)
		copy(row, x.Coeffs[0])
	})
	t.Logf("P(0 after +1) - P(0 after -1): ours %.4f, Lattigo's default %.4f; our shares %.4f", ours, theirs, share)
	for _, s := range share {
		if math.Abs(ours) > 0.015 || math.Abs(s-1./3) > 0.007 {
			t.Fatal(ours, share)
		}
	}
	if math.Abs(theirs) < 0.3 {
		t.Log("Lattigo's sampler seems repaired; ours still needs no trust in it")
	}
}

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}

func TestCentredBinomialHasItsMoments(t *testing.T) {
	e := make([]int64, 1<<18+5)
	New(Fresh()).CentredBinomial(e)
	var sum, squares float64
	for _, v := range e {
		sum, squares = sum+float64(v), squares+float64(v*v)
		if max(v, -v) > NoiseBound {
			t.Fatal("beyond the bound", v)
		}
	}
	n := float64(len(e)) // variance 21 / 2
	if math.Abs(sum/n) > 0.04 || math.Abs(squares/n-10.5) > 0.2 {
		t.Fatal(sum/n, squares/n)
	}
}

func TestSmudgingIsUniformWithinItsBound(t *testing.T) {
	f, tmp := make([]int64, 1<<18), make([]uint64, 1<<18)
	for _, bound := range []uint64{5, 22 * 6 << 30, 1<<43 - 1} {
		New(Fresh()).Smudging(f, bound, tmp)
		bins := make([]float64, 11)
		for _, v := range f {
			if max(v, -v) > int64(bound) {
				t.Fatal("beyond the bound", v)
			}
			bins[int(float64(uint64(v+int64(bound)))/float64(2*bound+1)*11)]++
		}
		chi, mean := 0.0, float64(len(f))/11
		for _, n := range bins {
			chi += (n - mean) * (n - mean) / mean
		}
		if chi > 10+6*math.Sqrt(20) {
			t.Fatal("chi-square", bound, chi)
		}
	}
}

func TestSmallNoiseIsAddedWithItsSign(t *testing.T) {
	x := []uint64{0, 0, 96, 96, 5}
	residue.AddSmall(x, []int64{1, -1, 1, -96, 0}, 97)
	for i, want := range []uint64{1, 96, 0, 0, 5} {
		if x[i] != want {
			t.Fatal(x)
		}
	}
}

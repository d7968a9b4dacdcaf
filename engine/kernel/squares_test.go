package kernel

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"fedanomaly/engine/fault"
)

// squares are two outputs, with a batch and room for an answer to it.
func squares(t *testing.T, set Set) (s *Squares, forms []*Form, fixed [][]int32, c0, answer []uint32) {
	t.Helper()
	random := rand.New(rand.NewPCG(11, 1))
	for _, rows := range []int{3, 40} {
		f := form(random, 5, rows)
		y := make([]int32, len(primes)*f.Points*rows)
		f.Linear(Portable, residues(random, f.Points*f.Features), false, y)
		f.Mirror(y)
		forms, fixed = append(forms, f), append(fixed, y)
	}
	s = NewSquares(set, forms, fixed)
	t.Cleanup(func() {
		s.Close() // else the collector ends the process: it looks after what is pinned
		runtime.GC()
	})
	all := len(primes) * forms[0].Points
	return s, forms, fixed, residues(random, forms[0].Points*5), slices.Repeat([]uint32{7}, 7*all)
}

func TestSquaresAnswerAsTheirForms(t *testing.T) {
	for set := AVX2; set <= Best(); set++ {
		s, forms, fixed, c0, got := squares(t, set)
		if err := s.Score(c0, got); err != nil {
			t.Fatal(err)
		}
		var wanted []uint32
		for i, f := range forms {
			out := answer(f.Points)
			f.Quadratic(Portable, fixed[i], c0, out)
			wanted = slices.Concat(wanted, out.S1, out.S2, out.U, out.T1)
		}
		if !slices.Equal(got, wanted) {
			t.Fatalf("%v: another answer", set)
		}
	}
}

func TestSquaresTouchNoBufferOfAnotherSize(t *testing.T) {
	for set := AVX2; set <= Best(); set++ {
		s, _, _, c0, got := squares(t, set)
		for _, sizes := range [][2]int{{-1, 0}, {0, -1}, {-len(c0), 0}, {0, -len(got)}, {-len(c0) / 2, -len(got) / 2}} {
			to := got[:len(got)+sizes[1]]
			if err := s.Score(c0[:len(c0)+sizes[0]], to); !errors.Is(err, fault.Buffer) {
				t.Fatal(set, sizes, err)
			}
		}
		if slices.IndexFunc(got, func(v uint32) bool { return v != 7 }) >= 0 {
			t.Fatal(set)
		}
	}
}

func TestNothingOfARefusedBatchStaysInItsAnswer(t *testing.T) {
	for set := AVX2; set <= Best(); set++ {
		s, _, _, c0, got := squares(t, set)
		c0[len(c0)-1] = 1<<32 - 1
		if err := s.Score(c0, got); !errors.Is(err, fault.Message) {
			t.Fatal(set, err)
		}
		if slices.Max(got) != 0 {
			t.Fatal(set)
		}
	}
}

package kernel

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

func TestSquaresLetGoOfWhatTheyAreMadeOf(t *testing.T) {
	if Best() == Portable {
		t.Skip("squares are for kernels in C")
	}
	random := rand.New(rand.NewPCG(11, 1))
	for range 3 {
		f := form(random, 5, 3)
		s := NewSquares(Best(), []*Form{f, f}, [][]int32{make([]int32, 64*9), make([]int32, 64*9)})
		if s.Address() == 0 {
			t.Fatal("nowhere")
		}
		s.Close() // else the collector ends the process: it looks after what is pinned
		runtime.GC()
	}
}

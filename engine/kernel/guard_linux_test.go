package kernel

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"
)

// guarded copies numbers to the end of a piece of memory, or to its beginning, with
// pages on both sides that nobody may touch: instructions of AMX are none that a
// sanitizer looks at.
func guarded[T any](t *testing.T, numbers []T, atEnd bool) []T {
	t.Helper()
	page := syscall.Getpagesize()
	size := len(numbers) * int(unsafe.Sizeof(numbers[0]))
	pages := (size + page - 1) / page * page
	memory, err := syscall.Mmap(-1, 0, pages+2*page, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(memory) })
	for _, side := range [][]byte{memory[:page], memory[page+pages:]} {
		if err := syscall.Mprotect(side, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	from := page
	if atEnd {
		from += pages - size
	}
	out := unsafe.Slice((*T)(unsafe.Pointer(&memory[from])), len(numbers))
	copy(out, numbers)
	return out
}

func TestKernelsStayInTheirMemory(t *testing.T) {
	random := rand.New(rand.NewPCG(12, 1))
	for _, shape := range [][2]int{{1, 1}, {5, 2}, {16, 4}, {17, 13}, {30, 10}, {40, 61}} {
		for _, atEnd := range []bool{false, true} {
			f := form(random, shape[0], shape[1])
			c0 := guarded(t, residues(random, f.Points*f.Features), atEnd)
			fixed := guarded(t, make([]int32, len(primes)*f.Points*f.Rows), atEnd)
			f.Weights, f.Bias = guarded(t, f.Weights, atEnd), guarded(t, f.Bias, atEnd)
			if f.tiles != nil {
				f.tiles.digits = guarded(t, f.tiles.digits, atEnd)
				f.tiles.bias = guarded(t, f.tiles.bias, atEnd)
			}
			out := answer(f.Points)
			for _, part := range []*[]uint32{&out.S1, &out.S2, &out.U, &out.T1} {
				*part = guarded(t, *part, atEnd)
			}
			for _, set := range sets() {
				f.Linear(set, c0, true, fixed)
				if !f.Quadratic(set, fixed, c0, out) {
					t.Fatal(set)
				}
			}
		}
	}
}

package workers

import (
	"errors"
	"sync/atomic"
	"testing"

	"fedanomaly/engine/fault"
)

func TestEveryItemIsDoneOnce(t *testing.T) {
	defer Limit(0)
	for _, limit := range []int{0, 1, 2, 7, 100} {
		Limit(limit)
		for _, n := range []int{0, 1, 2, 13} {
			done := make([]atomic.Int32, n)
			if err := Each(n, func(i int) { done[i].Add(1) }); err != nil {
				t.Fatal(err)
			}
			for i := range done {
				if done[i].Load() != 1 {
					t.Fatal(limit, n, i)
				}
			}
		}
	}
}

func TestAPanicBecomesAnError(t *testing.T) {
	defer Limit(0)
	for _, limit := range []int{1, 4} {
		Limit(limit)
		if err := Each(9, func(i int) { _ = make([]int, 3)[i] }); !errors.Is(err, fault.Internal) {
			t.Fatal(err)
		}
	}
}

// The items of a goroutine that panics stay undone: so they tell how many there are.
func TestCallsAtATimeShareTheCores(t *testing.T) {
	Limit(4)
	defer Limit(0)
	undone := func() int {
		var done atomic.Int64
		_ = Each(8, func(i int) {
			if i == 0 {
				panic("stop")
			}
			done.Add(1)
		})
		return 8 - int(done.Load())
	}
	if got := undone(); got != 2 {
		t.Errorf("alone: %d of 8 items a goroutine, not 2", got)
	}
	_ = Each(1, func(int) {
		if got := undone(); got != 4 {
			t.Errorf("beside another: %d of 8 items a goroutine, not 4", got)
		}
	})
	if got := undone(); got != 2 {
		t.Errorf("alone again: %d of 8 items a goroutine, not 2", got)
	}
}

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

// A goroutine that panics does no more items: so they tell how many there are.
func TestCallsAtATimeShareTheCores(t *testing.T) {
	Limit(4)
	defer Limit(0)
	goroutines := func() int {
		var begun atomic.Int64
		_ = Each(8, func(int) {
			begun.Add(1)
			panic("stop")
		})
		return int(begun.Load())
	}
	if got := goroutines(); got != 4 {
		t.Errorf("alone: %d goroutines, not 4", got)
	}
	_ = Each(1, func(int) {
		if got := goroutines(); got != 2 {
			t.Errorf("beside another: %d goroutines, not 2", got)
		}
	})
	if got := goroutines(); got != 4 {
		t.Errorf("alone again: %d goroutines, not 4", got)
	}
}

// Whoever waits for an earlier item waits for one that was begun with.
func TestItemsBeginInOrder(t *testing.T) {
	Limit(4)
	defer Limit(0)
	const n = 1000
	var begun [n]chan struct{}
	for i := range begun {
		begun[i] = make(chan struct{})
	}
	err := Each(n, func(i int) {
		close(begun[i])
		for earlier := range i {
			<-begun[earlier]
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

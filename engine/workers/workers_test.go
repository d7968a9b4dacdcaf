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

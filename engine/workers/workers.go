// Package workers spreads a vector over the cores.
package workers

import (
	"runtime"
	"sync"
	"sync/atomic"

	"fedanomaly/engine/fault"
)

var limit, active atomic.Int64

// Limit sets how many goroutines one call may use; 0 stands for all cores.
func Limit(n int) { limit.Store(int64(n)) }

// Each calls work for 0 .. n-1, and begins with each when it has begun with all
// before. Calls under way at a time share the cores: more goroutines than cores
// would only wait for each other. A panic would end the whole process from a
// goroutine that nobody can guard from outside, so it becomes an error here; that
// goroutine does no more items.
func Each(n int, work func(i int)) error {
	count := int(limit.Load())
	if count <= 0 {
		count = runtime.GOMAXPROCS(0)
	}
	count = min(max(count/int(active.Add(1)), 1), n)
	defer active.Add(-1)
	var broken atomic.Bool
	var begun atomic.Int64
	run := func() {
		defer func() {
			if recover() != nil {
				broken.Store(true)
			}
		}()
		for i := int(begun.Add(1)) - 1; i < n; i = int(begun.Add(1)) - 1 {
			work(i)
		}
	}
	var group sync.WaitGroup
	for range count - 1 {
		group.Go(run)
	}
	run()
	group.Wait()
	if broken.Load() {
		return fault.Internal
	}
	return nil
}

package main

import (
	"errors"
	"sync"
	"testing"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/member"
	"fedanomaly/engine/packed"
)

func TestNoPanicLeavesTheLibrary(t *testing.T) {
	if code := guard(func() error { panic("anything") }); code != -13 {
		t.Fatal(code)
	}
	if code := guard(func() error { return errors.New("no number") }); code != -13 {
		t.Fatal(code)
	}
	if code := guard(func() error { return fault.Rejected }); code != -9 {
		t.Fatal(code)
	}
	if code := guard(func() error { return nil }); code != 0 {
		t.Fatal(code)
	}
}

func TestBuffersOfNonsenseAreRefused(t *testing.T) {
	var x uint64
	for _, n := range []int64{-1, maxBytes, 1 << 62} {
		if _, err := slice[uint64](&x, n); !errors.Is(err, fault.Argument) {
			t.Fatal(n, err)
		}
	}
	var none *uint64
	if _, err := slice[uint64](none, 1); !errors.Is(err, fault.Argument) {
		t.Fatal("null", err)
	}
	if b, err := slice[uint64](none, 0); err != nil || len(b) != 0 {
		t.Fatal("empty", err)
	}
	if b, err := slice[uint64](&x, 1); err != nil || &b[0] != &x {
		t.Fatal("not the caller's memory")
	}
	if _, err := slice[uint32](&x, 1); !errors.Is(err, fault.Argument) {
		t.Fatal("another element size")
	}
}

func TestHandlesAreNeverUsedTwice(t *testing.T) {
	m, err := member.New(3, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	handle := keep(m)
	if _, err := find[*packed.Sum](handle); !errors.Is(err, fault.Closed) {
		t.Fatal("a member is no sum")
	}
	var group sync.WaitGroup // closing while others work
	for range 4 {
		group.Go(func() {
			if m, err := find[*member.Member](handle); err == nil {
				_, _ = m.Hello()
			}
		})
	}
	group.Go(func() { _ = free(handle) })
	group.Wait()
	if _, err := find[*member.Member](handle); !errors.Is(err, fault.Closed) {
		t.Fatal(err)
	}
	if _, err := m.Hello(); !errors.Is(err, fault.Closed) || !errors.Is(free(handle), fault.Closed) {
		t.Fatal("not erased", err)
	}
	if again := keep(m); again <= handle {
		t.Fatal("a number twice")
	}
}

package member

import (
	"testing"

	"fedanomaly/engine/workers"
)

// A million entries of 20 bits for a roster of 16, t = 4, on one core: go test
// -bench . ./member. Each figure is one message.
func BenchmarkMillion(b *testing.B) {
	r := federationOf(b, 16, 4).round(shape{degree: 8192, bits: 20, entries: 1_000_000})
	workers.Limit(1)
	defer workers.Limit(0)
	l := r.mf.Layout
	out, entries := make([]byte, l.Bytes()), make([]uint64, r.mf.Entries)
	sum := r.add(r.messages(r.all())...)
	b.Logf("%d bytes a message", l.Bytes())
	b.Run("contribute", func(b *testing.B) {
		for b.Loop() {
			check(b, r.members[1].Contribution(r.raw, r.values[1], out))
		}
	})
	b.Run("share", func(b *testing.B) {
		for b.Loop() {
			check(b, r.members[1].Share(r.raw, r.all(), out))
		}
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			check(b, l.Check(out))
		}
	})
	b.Run("add", func(b *testing.B) {
		s := l.Whole().NewSum()
		for b.Loop() {
			check(b, s.Add(out))
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			check(b, r.members[1].Open(r.raw, r.all(), sum, entries))
		}
	})
}

package member

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/manifest"
	"fedanomaly/engine/stream"
	"fedanomaly/engine/workers"
)

// Every U of at least max(3, t + 1) of 6 members opens exactly, with several D;
// the others joined (and some contributed) but were gone before the close.
func TestEverySetOpensExactlyItsOwnSum(t *testing.T) {
	for _, c := range []struct{ degree, bits, threshold int }{
		{4096, 20, 2}, {8192, 20, 3}, {8192, 24, 2}, {4096, 24, 5}, {8192, 39, 4}, {4096, 30, 2}, {8192, 60, 3},
	} {
		f := federationOf(t, 6, c.threshold)
		sums, worst := 0, 0.0
		for k, contributors := range subsets(6, manifest.LeastContributors(c.threshold)) {
			if testing.Short() && k%7 != 0 { // for -race, which is thirty times slower
				continue
			}
			for _, joined := range [][]int{f.all(), contributors} {
				count := min(len(joined), c.threshold+2)
				for _, decryptors := range [][]int{joined[:count], joined[len(joined)-count:]} {
					entries := 25
					if sums == 0 && c.degree == 4096 && c.bits == 20 {
						entries = 2*4096 - 3 // the MAC coefficients lie in two ciphertexts
					}
					r := f.round(shape{degree: c.degree, bits: c.bits, entries: entries, joined: joined, decryptors: decryptors, seed: uint64(k)})
					sum := r.add(r.messages(contributors)...)
					got, err := r.open(1+sums%6, contributors, sum)
					if err != nil || !slices.Equal(got, r.want(contributors)) {
						t.Fatalf("%+v U=%v D=%v: %v", c, contributors, decryptors, err)
					}
					verdict, _, _ := r.members[0].decode(r.mf, contributors, sum, got)
					worst = max(worst, verdict.Residual())
					sums++
				}
			}
		}
		t.Logf("%+v: %d sums right, largest residual %.3g of a step", c, sums, worst)
	}
}

// Whatever is missing, doubled, replaced or added opens garbage, and is rejected.
func TestAnythingElseOpensGarbage(t *testing.T) {
	for _, degree := range []int{4096, 8192} {
		const entries = 4000
		f := federationOf(t, 6, 3)
		contributors := []int{1, 2, 4, 6}
		r := f.round(shape{degree: degree, bits: 20, entries: entries, decryptors: []int{1, 2, 4, 5, 6}})
		other := f.round(shape{degree: degree, bits: 20, entries: entries, decryptors: []int{1, 2, 4, 5, 6}})
		messages, want := r.messages(contributors), r.want(contributors)
		late := r.contribution(5)
		bad := func(name string, messages [][]byte) {
			t.Helper()
			sum := r.add(messages...)
			got, err := r.open(3, contributors, sum)
			if !errors.Is(err, fault.Rejected) || slices.Max(got) != 0 {
				t.Fatalf("%s: %v, and output", name, err)
			}
			if n := different(r.garbled(3, contributors, sum), want); n < entries*99/100 {
				t.Fatalf("%s: only %d of %d entries are hidden", name, n, entries)
			}
		}
		with := func(k int, message []byte) [][]byte {
			changed := slices.Clone(messages)
			changed[k] = message
			return changed
		}
		for i := range messages {
			bad(fmt.Sprint("missing ", i), slices.Delete(slices.Clone(messages), i, i+1))
			bad(fmt.Sprint("doubled ", i), append(slices.Clone(messages), messages[i]))
		}
		bad("late one added", append(slices.Clone(messages), late))
		bad("late one instead", with(0, late))
		bad("scaled", with(0, r.add(messages[0], messages[0])))
		bad("contribution to another manifest", with(0, other.contribution(1)))
		bad("share of another manifest", with(4, other.share(1, contributors)))
		bad("share for another set", with(4, r.share(1, r.all())))
		sum := r.add(messages...)
		if got, err := r.open(3, contributors, sum); err != nil || !slices.Equal(got, want) {
			t.Fatal("the right messages must open", err)
		}
		if _, err := other.open(3, contributors, sum); !errors.Is(err, fault.Rejected) {
			t.Fatal("opened under another manifest")
		}
		if _, err := r.open(3, r.all(), sum); !errors.Is(err, fault.Rejected) {
			t.Fatal("opened for another set")
		}
	}
}

// A set that names somebody who never posted opens nothing, though every
// decryptor answered; and fewer than all decryptors open nothing.
func TestASetWithANonPosterOpensNothing(t *testing.T) {
	f := federationOf(t, 6, 2)
	r := f.round(shape{degree: 4096, bits: 20, entries: 1000})
	named, posted := []int{1, 2, 3, 4}, []int{1, 2, 4}
	messages := r.messages(named)
	messages = slices.Delete(messages, 2, 3) // 3 never posted
	sum := r.add(messages...)
	if _, err := r.open(1, named, sum); !errors.Is(err, fault.Rejected) {
		t.Fatal(err)
	}
	if n := different(r.garbled(1, named, sum), r.want(posted)); n < 990 {
		t.Fatal("the sum of who posted shows", n)
	}
}

// The coordinator holds every message but not the group key: the pad hides A.
func TestTheCoordinatorReadsNothing(t *testing.T) {
	for _, degree := range []int{4096, 8192} {
		r := federationOf(t, 6, 3).round(shape{degree: degree, bits: 20, entries: 4000})
		sum, l := r.add(r.messages(r.all())...), r.mf.Layout
		out, chi := make([]uint64, 4000), make([]uint64, len(l.MACPrimes))
		for c := range l.Ciphertexts {
			x := l.Ring.NewPoly()
			l.AddTo(x, sum, c)
			l.Decode(x, c, out, chi)
		}
		if n := different(out, r.want(r.all())); n < 3960 {
			t.Fatal("the coordinator reads", 4000-n)
		}
	}
}

// Two sets for one manifest need two answers of every honest decryptor: with all
// but one cloned, nothing opens twice.
func TestTwoSetsNeedTwoAnswersOfEverybody(t *testing.T) {
	r := federationOf(t, 6, 2).round(shape{degree: 4096, bits: 20, entries: 100})
	first, second := r.all(), []int{1, 2, 3, 4, 5}
	var messages [][]byte
	for _, i := range second {
		messages = append(messages, r.contribution(i))
	}
	for _, j := range []int{1, 2, 4} { // 3 answered the first set only
		messages = append(messages, r.share(j, second))
	}
	for _, third := range [][]byte{r.share(3, first), nil} {
		all := messages
		if third != nil {
			all = append(slices.Clone(messages), third)
		}
		sum := r.add(all...)
		if _, err := r.open(4, second, sum); !errors.Is(err, fault.Rejected) {
			t.Fatal("opened twice")
		}
		if n := different(r.garbled(4, second, sum), r.want(second)); n < 99 {
			t.Fatal("the second sum shows", n)
		}
	}
}

// A repeated request gives the same bytes, with any number of threads, and after
// the member was sealed and unsealed.
func TestRepeatedMessagesAreBitIdentical(t *testing.T) {
	f := federationOf(t, 6, 3)
	r := f.round(shape{degree: 8192, bits: 20, entries: 70000}) // two ciphertexts
	contribution, share := r.contribution(1), r.share(1, r.all())
	workers.Limit(1)
	defer workers.Limit(0)
	key := stream.Fresh()
	copied := must(Unseal(key, nil, must(r.members[0].Seal(key, nil))))
	defer copied.Close()
	for _, m := range []*Member{r.members[0], copied} {
		again := make([]byte, len(share))
		check(t, m.Contribution(r.raw, r.values[0], again))
		if !bytes.Equal(again, contribution) {
			t.Fatal("the contribution differs")
		}
		check(t, m.Share(r.raw, r.all(), again))
		if !bytes.Equal(again, share) {
			t.Fatal("the share differs")
		}
	}
}

// Under kind "test" zeros are sent, whatever the values, and one contributor is
// enough.
func TestATestRoundSendsZeros(t *testing.T) {
	r := federationOf(t, 6, 2).round(shape{degree: 4096, bits: 20, entries: 50, kind: manifest.KindTest})
	got, err := r.open(1, []int{2}, r.add(r.messages([]int{2})...))
	if err != nil || slices.Max(got) != 0 {
		t.Fatal(err, got)
	}
}

func TestRefusals(t *testing.T) {
	f := federationOf(t, 6, 2)
	r := f.round(shape{degree: 4096, bits: 20, entries: 50, joined: []int{1, 2, 3, 4, 5}})
	fixed := f.round(shape{degree: 4096, bits: 20, entries: 50, fixed: []int{1, 2, 3, 4, 5}})
	foreign := enrol(t, 6, 2)
	size := r.mf.Layout.Bytes()
	out, values, entries := make([]byte, size), make([]uint64, 50), make([]uint64, 50)
	wide := slices.Clone(values)
	wide[49] = 1 << r.mf.Layout.ValueBits
	m := f.members
	for name, c := range map[string]struct {
		got  error
		want fault.Code
	}{
		"contribution of who did not join":     {m[5].Contribution(r.raw, values, out), fault.Refused},
		"contribution outside the fixed set":   {m[5].Contribution(fixed.raw, values, out), fault.Refused},
		"contribution to another epoch":        {foreign.members[0].Contribution(r.raw, values, out), fault.Manifest},
		"contribution to bytes":                {m[0].Contribution(r.raw[1:], values, out), fault.Manifest},
		"value too wide":                       {m[0].Contribution(r.raw, wide, out), fault.Value},
		"too few values":                       {m[0].Contribution(r.raw, values[1:], out), fault.Value},
		"small buffer":                         {m[0].Contribution(r.raw, values, out[1:]), fault.Buffer},
		"share of who is no decryptor":         {m[4].Share(r.raw, []int{1, 2, 3}, out), fault.Refused},
		"share for too few":                    {m[0].Share(r.raw, []int{1, 2}, out), fault.Refused},
		"share for nobody":                     {m[0].Share(r.raw, nil, out), fault.Refused},
		"share for who did not join":           {m[0].Share(r.raw, []int{1, 2, 6}, out), fault.Refused},
		"share for one twice":                  {m[0].Share(r.raw, []int{1, 2, 2, 3}, out), fault.Refused},
		"share out of order":                   {m[0].Share(r.raw, []int{2, 1, 3}, out), fault.Refused},
		"share for index 0":                    {m[0].Share(r.raw, []int{0, 1, 2, 3}, out), fault.Refused},
		"share for index n + 1":                {m[0].Share(r.raw, []int{1, 2, 7}, out), fault.Refused},
		"share for another than the fixed set": {m[0].Share(fixed.raw, []int{1, 2, 3}, out), fault.Refused},
		"share in a small buffer":              {m[0].Share(r.raw, []int{1, 2, 3}, out[1:]), fault.Buffer},
		"share of another epoch":               {foreign.members[0].Share(r.raw, []int{1, 2, 3}, out), fault.Manifest},
		"opening of another epoch":             {foreign.members[0].Open(r.raw, []int{1, 2, 3}, out, entries), fault.Rejected},
		"opening of zeros":                     {m[0].Open(r.raw, []int{1, 2, 3}, out, entries), fault.Rejected},
		"opening of a short message":           {m[0].Open(r.raw, []int{1, 2, 3}, out[1:], entries), fault.Rejected},
		"opening of too few":                   {m[0].Open(r.raw, []int{1, 2}, out, entries), fault.Rejected},
		"opening of bytes":                     {m[0].Open(nil, []int{1, 2, 3}, out, entries), fault.Rejected},
		"opening into a small buffer":          {m[0].Open(r.raw, []int{1, 2, 3}, out, entries[1:]), fault.Buffer},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, not %v", name, c.got, c.want)
		}
	}
	if errors.Is(m[4].Contribution(fixed.raw, values, out), fault.Refused) {
		t.Error("a member of the fixed set must contribute")
	}
}

// Whoever ignores the error finds nothing of an earlier opening in the buffer.
func TestWhatDoesNotOpenLeavesZeros(t *testing.T) {
	f := federationOf(t, 4, 2)
	r := f.round(shape{degree: 4096, bits: 20, entries: 8, job: 1})
	sum := make([]byte, r.mf.Layout.Bytes())
	for name, open := range map[string]func(out []uint64) error{
		"bytes":           func(out []uint64) error { return f.members[0].Open(nil, r.all(), sum, out) },
		"a short message": func(out []uint64) error { return f.members[0].Open(r.raw, r.all(), sum[1:], out) },
		"too few":         func(out []uint64) error { return f.members[0].Open(r.raw, []int{1, 2}, sum, out) },
		"zeros":           func(out []uint64) error { return f.members[0].Open(r.raw, r.all(), sum, out) },
	} {
		out := slices.Repeat([]uint64{7}, 8)
		if err := open(out); !errors.Is(err, fault.Rejected) || slices.Max(out) != 0 {
			t.Error(name, err, out)
		}
	}
}

// Mistake 1: every PRF input of two rounds is used for one thing only. Inputs
// that several members share are used once by each of them.
func TestNoPRFInputIsUsedTwice(t *testing.T) {
	f := enrol(t, 6, 2)
	count := map[string]int{}
	workers.Limit(1)
	defer workers.Limit(0)
	for _, m := range f.members {
		m.observe = func(key stream.Key, input []byte) { count[string(key[:])+string(input)]++ }
	}
	for job := range uint64(2) {
		r := f.round(shape{degree: 4096, bits: 20, entries: 2 * 4096, job: job}) // two ciphertexts
		if _, err := r.open(6, r.all(), r.add(r.messages(r.all())...)); err != nil {
			t.Fatal(err)
		}
	}
	kinds := map[int]int{}
	for _, n := range count {
		kinds[n]++
	}
	// 2 rounds of 2 ciphertexts. Once: e of 6, f of 4. Twice, for 2 primes: zero
	// masks of 6 pairs, the pad (sharer and opener). 7 times, for 2 MAC
	// coefficients: mac (6 contributors and the opener).
	want := map[int]int{1: 2 * 2 * 10, 2: 2 * 2 * 2 * 7, 7: 2 * 2 * 2}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Fatal(kinds, want)
	}
}

// A share for another set of the same manifest uses no PRF input again, f
// included: two shares with one noise would tell the difference of their keys.
func TestAShareUsesOtherInputsForAnotherSet(t *testing.T) {
	f := enrol(t, 6, 2)
	r := f.round(shape{degree: 4096, bits: 20, entries: 10})
	workers.Limit(1)
	defer workers.Limit(0)
	seen := map[string]int{}
	m := f.members[0]
	m.observe = func(key stream.Key, input []byte) { seen[string(key[:])+string(input)]++ }
	for _, contributors := range [][]int{r.all(), {1, 2, 3}, {1, 2, 4}} {
		r.share(1, contributors)
	}
	for _, n := range seen {
		if n != 1 {
			t.Fatal("an input is used for two sets")
		}
	}
	if want := 3 * (1 + 2*3 + 2); len(seen) != want { // f, zero masks with three others, pad
		t.Fatal(len(seen), want)
	}
}

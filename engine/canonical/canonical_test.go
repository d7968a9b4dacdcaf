package canonical

import (
	"bytes"
	"testing"
)

func TestItemsComeBackAndNothingElseDoes(t *testing.T) {
	raw := ItemSet(ItemInt(Item(Begin("purpose"), "x", []byte("value")), "n", 1<<63), "set", []int{1, 3, 250})
	read := func(raw []byte) bool {
		r := NewReader(raw)
		r.Begin("purpose")
		x, n, s := r.Item("x"), r.Int("n"), r.Set("set", 250)
		return r.Done() && string(x) == "value" && n == 1<<63 && len(s) == 3
	}
	if !read(raw) {
		t.Fatal("does not come back")
	}
	for i := range raw {
		if read(raw[:i]) {
			t.Fatal("cut", i)
		}
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if i < len(raw)-6 && read(changed) {
			t.Fatal("changed", i)
		}
	}
	if read(append(bytes.Clone(raw), 0)) {
		t.Fatal("trailing byte")
	}
}

func TestAFailedReaderStaysFailedAndReturnsZeros(t *testing.T) {
	r := NewReader(Item(Item(nil, "a", []byte{1}), "b", []byte{2}))
	if r.Int("a") != 0 || r.Item("b") != nil || r.Hash("b") != (Hash{}) || r.Small("b", 3, 4) != 3 || r.More() || r.Done() {
		t.Fatal("went on after a failure")
	}
}

func TestLengthsBeyondTheEndAreRefused(t *testing.T) {
	for _, length := range [][]byte{{1, 0, 0, 0}, {255, 255, 255, 255}} {
		r := NewReader(append([]byte{1, 'a'}, length...))
		if r.Item("a"); r.Done() {
			t.Fatal("accepted", length)
		}
	}
}

func TestSetsIncreaseWithinTheRoster(t *testing.T) {
	for _, c := range []struct {
		set  []int
		good bool
	}{{nil, true}, {[]int{1}, true}, {[]int{1, 2, 5}, true}, {[]int{0}, false}, {[]int{6}, false}, {[]int{2, 2}, false}, {[]int{2, 1}, false}} {
		r := NewReader(ItemSet(nil, "s", c.set))
		if r.Set("s", 5); r.Done() != c.good {
			t.Fatal(c)
		}
	}
	r := NewReader(Item(nil, "s", []byte{1, 0, 2}))
	if r.Set("s", 5); r.Done() {
		t.Fatal("half an index")
	}
}

func TestDifferentItemsNeverGiveTheSameBytes(t *testing.T) {
	seen := map[string]bool{}
	for _, label := range []string{"", "a", "aa", "b"} {
		for _, value := range []string{"", "a", "aa", "\x01a\x00\x00\x00\x00"} {
			for _, next := range []string{"", "a"} {
				raw := string(Item(Item(nil, label, []byte(value)), next, nil))
				if seen[raw] {
					t.Fatal("twice", label, value, next)
				}
				seen[raw] = true
			}
		}
	}
}

package member

import (
	"bytes"
	"testing"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/packed"
	"fedanomaly/engine/stream"
)

// Whatever parses as a deal is canonical; nothing panics.
func FuzzDeal(f *testing.F) {
	m := must(New(3, 2, 1))
	plain := dealHead(1, 2)
	for _, r := range m.rings {
		plain = canonical.Item(plain, "share", r.preset.AppendPoly(nil, r.shareFor(2)))
	}
	plain = canonical.Item(canonical.Item(canonical.Item(plain, "pair", make([]byte, 32)), "group", make([]byte, 32)), "salt", make([]byte, 32))
	if len(plain) != plainDealBytes() {
		f.Fatal("size", len(plain), plainDealBytes())
	}
	f.Add(plain)
	f.Add(plain[:200])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		shares, got, err := readDeal(data, 1, 2)
		if err != nil {
			if shares != nil || got.known {
				t.Fatal("something came out of a bad deal")
			}
			return
		}
		again := dealHead(1, 2)
		for i, degree := range packed.Degrees {
			again = canonical.Item(again, "share", must(packed.PresetOf(degree)).AppendPoly(nil, shares[i]))
		}
		again = canonical.Item(canonical.Item(canonical.Item(again, "pair", got.pair[:]), "group", got.group[:]), "salt", got.salt[:])
		if !bytes.Equal(again, data) {
			t.Fatal("not canonical")
		}
	})
}

// Whatever parses as a state is written as the same bytes; nothing panics, not
// even for somebody who holds the sealing key.
func FuzzState(f *testing.F) {
	f.Add(must(New(3, 2, 1)).appendState(nil))
	f.Add(enrol(f, 3, 2).members[2].appendState(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := readState(data)
		if err != nil {
			return
		}
		if !bytes.Equal(m.appendState(nil), data) {
			t.Fatal("not canonical")
		}
		m.Close()
	})
}

// Nothing opens without the key.
func FuzzUnseal(f *testing.F) {
	f.Add(must(must(New(3, 2, 1)).Seal(stream.Key{1}, nil)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := Unseal(stream.Key{}, nil, data); err == nil || m != nil {
			t.Fatal("opened")
		}
	})
}

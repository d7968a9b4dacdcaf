package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/packed"
)

func sample() *Manifest {
	m := &Manifest{Ciphertexts: 1, Fixed: []int{1, 2, 3}, Decryptors: []int{1, 2, 3, 4}}
	m.Ask = Ask{Kind: KindSum, Config: packed.Config{Degree: 4096, Members: 6, Threshold: 2, FieldBits: 20}, Entries: 100,
		Epoch: canonical.Hash{1}, Roster: canonical.Hash{2}, Policy: canonical.Hash{3}, Job: 1 << 40, Round: 5, Step: 6,
		Schema: canonical.Hash{7}, StepTag: canonical.Hash{8}, StateTag: canonical.Hash{9}}
	m.Previous, m.Certificate = canonical.Hash{4}, []byte("statements")
	for i := range 5 {
		m.Joins = append(m.Joins, Join{Member: i + 1, Generation: uint64(i), Nonce: canonical.Hash{byte(i)}})
	}
	return m
}

func TestWhatParsesIsCanonical(t *testing.T) {
	raw := sample().Bytes()
	m, err := Parse(raw)
	if err != nil || !bytes.Equal(m.Bytes(), raw) || m.Hash != sha256.Sum256(raw) {
		t.Fatal(err)
	}
	for i := range raw {
		if _, err := Parse(raw[:i]); err == nil {
			t.Fatal("cut", i)
		}
		changed := slices.Clone(raw)
		changed[i] ^= 1 << (i % 8)
		if m, err := Parse(changed); err == nil && !bytes.Equal(m.Bytes(), changed) {
			t.Fatal("accepted and written otherwise", i)
		}
	}
}

func TestWhatTheBytesAloneCanTellIsChecked(t *testing.T) {
	for name, change := range map[string]func(m *Manifest){
		"kind":                 func(m *Manifest) { m.Kind = "x" },
		"preset":               func(m *Manifest) { m.Config.Degree = 2048 },
		"roster of two":        func(m *Manifest) { m.Config.Members = 2 },
		"roster too large":     func(m *Manifest) { m.Config.Members = 251 },
		"threshold 1":          func(m *Manifest) { m.Config.Threshold = 1 },
		"threshold n":          func(m *Manifest) { m.Config.Threshold = 6 },
		"no value bits":        func(m *Manifest) { m.Config.FieldBits = 3 },
		"wide fields":          func(m *Manifest) { m.Config.FieldBits = 31 },
		"no entries":           func(m *Manifest) { m.Entries = 0 },
		"too many entries":     func(m *Manifest) { m.Entries, m.Ciphertexts = 1<<32, 1<<19+1 },
		"ciphertexts":          func(m *Manifest) { m.Ciphertexts++ },
		"certificate too long": func(m *Manifest) { m.Certificate = make([]byte, maxCertificateBytes+1) },
		"certificate alone":    func(m *Manifest) { m.Previous = canonical.Hash{} },
		"previous alone":       func(m *Manifest) { m.Certificate = nil },
		"F small":              func(m *Manifest) { m.Fixed = []int{1, 2} },
		"F did not join":       func(m *Manifest) { m.Fixed = []int{1, 2, 6} },
		"F out of order":       func(m *Manifest) { m.Fixed = []int{2, 1, 3} },
		"J twice":              func(m *Manifest) { m.Joins[1] = m.Joins[0] },
		"J out of order":       func(m *Manifest) { m.Joins[0], m.Joins[1] = m.Joins[1], m.Joins[0] },
		"J index 0":            func(m *Manifest) { m.Joins[0].Member = 0 },
		"J index n + 1":        func(m *Manifest) { m.Joins[4].Member = 7 },
		"J small":              func(m *Manifest) { m.Joins, m.Decryptors, m.Fixed = m.Joins[:2], []int{1, 2}, nil },
		"D twice":              func(m *Manifest) { m.Decryptors = []int{1, 2, 2, 3} },
		"D out of order":       func(m *Manifest) { m.Decryptors = []int{2, 1, 3, 4} },
		"D index 0":            func(m *Manifest) { m.Decryptors = []int{0, 1, 2, 3} },
		"D index n + 1":        func(m *Manifest) { m.Decryptors = []int{1, 2, 3, 7} },
		"D small":              func(m *Manifest) { m.Decryptors = []int{1, 2, 3} },
		"D large":              func(m *Manifest) { m.Decryptors = []int{1, 2, 3, 4, 5} },
		"D did not join":       func(m *Manifest) { m.Decryptors = []int{1, 2, 3, 6} },
	} {
		m := sample()
		change(m)
		if _, err := Parse(m.Bytes()); !errors.Is(err, fault.Manifest) {
			t.Error(name, "was accepted:", err)
		}
	}
	if _, err := Parse(append(sample().Bytes(), 0)); err == nil {
		t.Error("trailing byte")
	}
	first := sample()
	first.Previous, first.Certificate, first.Fixed = canonical.Hash{}, nil, nil
	if _, err := Parse(first.Bytes()); err != nil {
		t.Error("a first step", err)
	}
}

func TestWhichSetsMayBeOpened(t *testing.T) {
	m, _ := Parse(sample().Bytes())
	if !m.MayOpen([]int{1, 2, 3}) || m.MayOpen([]int{1, 2, 3, 4}) || !m.MayContribute(3) || m.MayContribute(4) {
		t.Fatal("exactly the fixed set")
	}
	free := sample()
	free.Fixed = nil
	m, _ = Parse(free.Bytes())
	for _, c := range []struct {
		set  []int
		good bool
	}{{[]int{1, 2, 3}, true}, {[]int{1, 2, 3, 4, 5}, true}, {[]int{3, 4, 5}, true}, {[]int{1, 2}, false}, {nil, false},
		{[]int{1, 2, 6}, false}, {[]int{1, 2, 2}, false}, {[]int{3, 2, 1}, false}, {[]int{0, 1, 2}, false}} {
		if m.MayOpen(c.set) != c.good {
			t.Error(c)
		}
	}
	free.Kind = KindTest
	m, _ = Parse(free.Bytes())
	if !m.MayOpen([]int{4}) || m.MayOpen(nil) {
		t.Error("a test may be opened for one")
	}
}

// The vectors are shared with tests/unit/fhe/test_vectors.py: Go and Python agree
// on what is accepted and on the hash.
func TestStoredVectors(t *testing.T) {
	var vectors []struct {
		Name, Raw, Hash string
		Accepted        bool
	}
	raw, err := os.ReadFile("../testdata/manifests.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &vectors); err != nil || len(vectors) < 20 {
		t.Fatal(err, len(vectors))
	}
	for _, v := range vectors {
		raw, err := hex.DecodeString(v.Raw)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(raw)
		if (err == nil) != v.Accepted {
			t.Errorf("%s: accepted %v", v.Name, err == nil)
		} else if err == nil && hex.EncodeToString(m.Hash[:]) != v.Hash {
			t.Errorf("%s: another hash", v.Name)
		}
	}
}

// What parses is written as the same bytes; nothing panics.
func FuzzManifest(f *testing.F) {
	f.Add(sample().Bytes())
	free := sample()
	free.Fixed, free.Config.Degree, free.Config.FieldBits = nil, 8192, 40
	f.Add(free.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			if m != nil {
				t.Fatal("half a manifest")
			}
			return
		}
		if !bytes.Equal(m.Bytes(), data) {
			t.Fatal("not canonical")
		}
		m.MayOpen(m.Joined())
	})
}

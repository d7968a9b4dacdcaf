package stream

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"fedanomaly/engine/canonical"
)

// The stored streams were computed by tests/unit/fhe/test_vectors.py's second
// implementation as well: shared randomness must never change.
func TestStoredVectors(t *testing.T) {
	var vectors struct {
		Public []struct {
			Manifest          string
			Ciphertext, Prime int
			Words             []uint64
		}
		Residues []struct {
			Key    string
			Q      uint64
			Values []uint64
		}
		Derived []struct{ Secret, Label, Epoch, Key string }
	}
	raw := must(os.ReadFile("../testdata/streams.json"))
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	key := func(s string) Key { return Key(must(hex.DecodeString(s))) }
	for _, v := range vectors.Public {
		s := Public(canonical.Hash(key(v.Manifest)), v.Ciphertext, v.Prime)
		for i, want := range v.Words {
			if s.Word() != want {
				t.Fatal("public stream differs", v.Ciphertext, v.Prime, i)
			}
		}
	}
	for _, v := range vectors.Residues {
		got := make([]uint64, len(v.Values))
		New(key(v.Key)).Uniform(got, v.Q)
		for i, want := range v.Values {
			if got[i] != want {
				t.Fatal("uniform residues differ", v.Q, i)
			}
		}
	}
	for _, v := range vectors.Derived {
		if Derive(key(v.Secret), v.Label, canonical.Hash(key(v.Epoch))) != key(v.Key) {
			t.Fatal("derived key differs", v.Label)
		}
	}
	if len(vectors.Public) == 0 || len(vectors.Residues) == 0 || len(vectors.Derived) == 0 {
		t.Fatal("no vectors")
	}
}

package packed

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"fedanomaly/engine/fault"
)

// message is a random message and its residues by ciphertext and prime.
func message(l Layout) ([]byte, [][][]uint64) {
	out := make([]byte, l.Bytes())
	var rows [][][]uint64
	for c := range l.Ciphertexts {
		x := l.Ring.NewPoly()
		for j, q := range l.WirePrimes() {
			for i := range l.Used(c) {
				x.Coeffs[j][i] = rand.Uint64N(q)
			}
			x.Coeffs[j][0] = q - 1
		}
		l.Pack(out, c, x)
		rows = append(rows, x.Coeffs)
	}
	return out, rows
}

var wireConfigs = []Config{{4096, 6, 2, 20}, {8192, 6, 3, 20}}

func TestPackedResiduesComeBack(t *testing.T) {
	for _, config := range wireConfigs {
		p := must(For(config))
		for _, entries := range []int{1, 7, 1000, p.N*p.Fields + 5} {
			l := must(p.Layout(entries))
			raw, rows := message(l)
			if err := l.Check(raw); err != nil {
				t.Fatal(err)
			}
			for c := range l.Ciphertexts {
				x := l.Ring.NewPoly()
				l.AddTo(x, raw, c)
				for j := range l.WirePrimes() {
					if !slices.Equal(x.Coeffs[j], rows[c][j]) {
						t.Fatal("differs", config, entries, c, j)
					}
				}
			}
		}
	}
}

// A sum of many messages is right however often it is reduced, in any order and
// from several callers at once.
func TestSumOfManyMessages(t *testing.T) {
	for _, config := range wireConfigs {
		l := must(must(For(config)).Layout(3000))
		raw, rows := message(l)
		s := l.Whole().NewSum()
		const count = 50
		var group sync.WaitGroup
		for range count {
			group.Go(func() {
				if s.Add(raw) != nil {
					t.Error("add")
				}
			})
		}
		group.Wait()
		out := make([]byte, l.Bytes())
		for range 2 { // reading does not change it
			must(0, s.Write(out))
		}
		x := l.Ring.NewPoly()
		l.AddTo(x, out, 0)
		for j, q := range l.WirePrimes() {
			for i, v := range rows[0][j][:l.Used(0)] {
				want := uint64(0)
				for range count {
					want = (want + v) % q
				}
				if x.Coeffs[j][i] != want {
					t.Fatal("differs", config, j, i)
				}
			}
		}
		if !errors.Is(s.Write(out[1:]), fault.Buffer) {
			t.Fatal("small buffer")
		}
		s.Close()
		if !errors.Is(s.Add(raw), fault.Closed) || !errors.Is(s.Write(out), fault.Closed) {
			t.Fatal("closed")
		}
	}
}

// A message that is refused leaves the sum as it was.
func TestMalformedMessagesAreRefusedWhole(t *testing.T) {
	for _, config := range wireConfigs {
		p := must(For(config))
		l := must(p.Layout(1)) // few coefficients: padding bits exist
		raw, _ := message(l)
		x := l.Ring.NewPoly()
		large := make([]byte, len(raw))
		x.Coeffs[0][l.Used(0)-1] = l.Primes[0] // the first value that is no residue
		l.Pack(large, 0, x)
		padded := slices.Clone(raw)
		padded[len(padded)-1] |= 0x80
		s := l.Whole().NewSum()
		must(0, s.Add(raw))
		for name, bad := range map[string][]byte{
			"empty": nil, "short": raw[1:], "long": append(slices.Clone(raw), 0), "residue": large, "padding": padded,
			"ones": bytes.Repeat([]byte{255}, len(raw)),
		} {
			if !errors.Is(l.Check(bad), fault.Message) || !errors.Is(s.Add(bad), fault.Message) {
				t.Fatal(config, name, "was accepted")
			}
		}
		out := make([]byte, len(raw))
		must(0, s.Write(out))
		if !bytes.Equal(out, raw) {
			t.Fatal("a refused message changed the sum")
		}
	}
}

func TestPolynomialsComeBackWhole(t *testing.T) {
	for _, degree := range Degrees {
		p := must(PresetOf(degree))
		x := p.Ring.NewPoly()
		for j, q := range p.Primes {
			for i := range x.Coeffs[j] {
				x.Coeffs[j][i] = rand.Uint64N(q)
			}
		}
		raw := p.AppendPoly([]byte("head"), x)[4:]
		if y, err := p.ReadPoly(raw); err != nil || !y.Equal(&x) || len(raw) != p.PolyBytes() {
			t.Fatal("differs", err)
		}
		x.Coeffs[len(p.Primes)-1][9] = p.Primes[len(p.Primes)-1]
		for name, bad := range map[string][]byte{"residue": p.AppendPoly(nil, x), "short": raw[1:], "empty": nil} {
			if _, err := p.ReadPoly(bad); !errors.Is(err, fault.Message) {
				t.Fatal(name)
			}
		}
	}
}

// What is accepted as a message is written as the same bytes.
func FuzzMessage(f *testing.F) {
	var layouts []Layout
	for _, config := range wireConfigs {
		l := must(must(For(config)).Layout(1))
		layouts = append(layouts, l)
		raw, _ := message(l)
		f.Add(raw)
		f.Add(bytes.Repeat([]byte{255}, l.Bytes()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, l := range layouts {
			s := l.Whole().NewSum()
			if l.Check(data) != nil {
				if s.Add(data) == nil {
					t.Fatal("Check and Add disagree")
				}
				continue
			}
			out := make([]byte, l.Bytes())
			if s.Add(data) != nil || s.Write(out) != nil || !bytes.Equal(out, data) {
				t.Fatal("not canonical")
			}
		}
	})
}

// Window by window, a message is checked and added as it is whole: the parts of
// the sum, one behind the other, are the sum.
func TestWindowsAreTheWhole(t *testing.T) {
	for _, config := range wireConfigs {
		p := must(For(config))
		for _, entries := range []int{1, p.N * p.Fields, 5*p.N*p.Fields - 3} {
			l := must(p.Layout(entries))
			first, _ := message(l)
			second, _ := message(l)
			whole := l.Whole().NewSum()
			must(0, whole.Add(first))
			must(0, whole.Add(second))
			want := make([]byte, l.Bytes())
			must(0, whole.Write(want))
			for _, count := range []int{1, 2, l.Ciphertexts} {
				var got []byte
				for c := 0; c < l.Ciphertexts; c += count {
					w := must(l.Window(c, min(count, l.Ciphertexts-c)))
					at := c * l.CiphertextBytes()
					part := func(m []byte) []byte { return m[at : at+w.Bytes()] }
					must(0, w.Check(part(first)))
					s := w.NewSum()
					must(0, s.Add(part(first)))
					must(0, s.Add(part(second)))
					out := make([]byte, w.Bytes())
					must(0, s.Write(out))
					got = append(got, out...)
					if !errors.Is(w.Check(part(first)[1:]), fault.Message) || !errors.Is(s.Add(part(first)[1:]), fault.Message) {
						t.Fatal("a short part was accepted")
					}
				}
				if !bytes.Equal(got, want) {
					t.Fatal("differs", config, entries, count)
				}
			}
		}
	}
}

func TestWindowsLieInTheMessage(t *testing.T) {
	l := must(must(For(wireConfigs[0])).Layout(100_000))
	most := int(^uint(0) >> 1)
	for _, bad := range [][2]int{{-1, 1}, {0, 0}, {0, -1}, {l.Ciphertexts, 1}, {1, l.Ciphertexts}, {most, 1}, {1, most}, {0, most}} {
		if _, err := l.Window(bad[0], bad[1]); !errors.Is(err, fault.Argument) {
			t.Fatal("allowed", bad)
		}
	}
}

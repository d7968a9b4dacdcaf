package packed

import (
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/stream"
)

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}

var configs = []Config{
	{4096, 6, 2, 20}, {8192, 6, 3, 20}, {4096, 64, 20, 22}, {8192, 64, 63, 22}, {8192, 16, 15, 20}, {4096, 16, 15, 20},
	{4096, 16, 4, 24}, {8192, 16, 4, 39}, {8192, 16, 4, 60}, {4096, 5, 2, 30}, {8192, 250, 100, 12}, {4096, 3, 2, 3},
}

func (p *Params) modulus() *big.Int { return pow2(p.CoefficientBits) }

// poly holds big integers mod the wire primes.
func (p *Params) poly(xs []*big.Int) ring.Poly {
	out := p.Ring.NewPoly()
	for j, q := range p.WirePrimes() {
		for i, x := range xs {
			out.Coeffs[j][i] = new(big.Int).Mod(x, word(q)).Uint64()
		}
	}
	return out
}

func (p *Params) prepared(xs []*big.Int) [][]uint64 {
	x := p.poly(xs)
	rows := make([][]uint64, len(p.WirePrimes()))
	for j := range rows {
		rows[j] = x.Coeffs[j][:len(xs)]
	}
	p.prepare(rows)
	return rows
}

// decodeBig is round(modulus x / Q') mod modulus, with big integers.
func (p *Params) decodeBig(x, modulus *big.Int) *big.Int {
	wire := product(p.WirePrimes())
	m := new(big.Int).Mul(x, modulus)
	m.Lsh(m, 1).Add(m, wire).Div(m, new(big.Int).Lsh(wire, 1))
	return m.Mod(m, modulus)
}

func field(m *big.Int, at, width int) uint64 {
	w := new(big.Int).Rsh(m, uint(at))
	return w.And(w, new(big.Int).Sub(pow2(width), big.NewInt(1))).Uint64()
}

// Every coefficient decodes under noise at its bound, of either sign, at the
// largest k; at k + 2 the same noise breaks it. The same for the MAC.
func TestNoiseAtItsBoundDecodes(t *testing.T) {
	for _, c := range configs {
		p := must(newParams(c))
		wire, b := product(p.WirePrimes()), c.noise(p.Preset, p.CoefficientBits)
		rng := rand.New(rand.NewPCG(4, uint64(p.CoefficientBits)))
		atBound := func(m, modulus *big.Int, i int) *big.Int { // wire m / modulus +- bound, towards the message
			x := new(big.Int).Mul(new(big.Int).Mul(wire, m), b.under)
			d, n := new(big.Int).Mul(b.under, modulus), new(big.Int).Mul(b.over, modulus)
			if i&1 == 0 {
				x.Add(x, n).Div(x, d)
			} else {
				x.Sub(x, n).Add(x, d).Sub(x, big.NewInt(1)).Div(x, d)
			}
			return x.Mod(x, wire)
		}
		extreme := func(i int, v, most uint64) uint64 {
			switch i / 2 % 4 {
			case 0:
				return most
			case 1:
				return 0
			}
			return v
		}
		for _, k := range []int{p.CoefficientBits, p.CoefficientBits + 2} {
			var xs []*big.Int
			var want []uint64
			broken := false
			for i := range 200 {
				m := new(big.Int)
				for f := range p.Fields {
					v := extreme(i, rng.Uint64()>>(64-c.FieldBits), 1<<c.FieldBits-1)
					want = append(want, v)
					m.Or(m, new(big.Int).Lsh(word(v), uint(f*c.FieldBits)))
				}
				x := atBound(m, pow2(k), i)
				xs = append(xs, x)
				broken = broken || p.decodeBig(x, pow2(k)).Cmp(m) != 0
			}
			if broken != (k > p.CoefficientBits) {
				t.Fatalf("%+v k=%d: broken %v", c, k, broken)
			}
			if k == p.CoefficientBits {
				got := make([]uint64, len(want))
				if verdict := p.decodeFields(p.prepared(xs), got); !slices.Equal(got, want) || verdict.Bad {
					t.Fatalf("%+v: %+v", c, verdict)
				}
			}
		}
		for i := range 200 {
			for m, prime := range p.MACPrimes {
				v := extreme(i, rng.Uint64N(prime), prime-1)
				got, ok := p.decodeMAC(p.prepared([]*big.Int{atBound(word(v), word(prime), i)}), 0, m)
				if got != v || !ok {
					t.Fatal("MAC", c, got, v, ok)
				}
			}
		}
	}
}

// Decoding equals round(T x / Q') with big integers, for uniform x.
func TestDecodingAgainstBigIntegers(t *testing.T) {
	for _, c := range configs {
		p := must(newParams(c))
		wire, words := product(p.WirePrimes()), stream.New(stream.Fresh())
		var xs []*big.Int
		for range 500 {
			x := new(big.Int)
			for range 5 {
				x.Lsh(x, 64).Or(x, word(words.Word()))
			}
			xs = append(xs, x.Mod(x, wire))
		}
		out, rows := make([]uint64, len(xs)*p.Fields), p.prepared(xs)
		p.decodeFields(rows, out)
		for i, x := range xs {
			m := p.decodeBig(x, p.modulus())
			for f := range p.Fields {
				if field(m, f*c.FieldBits, c.FieldBits) != out[i*p.Fields+f] {
					t.Fatal("differs", c, i, f)
				}
			}
			for k, prime := range p.MACPrimes {
				if v, _ := p.decodeMAC(rows, i, k); v != p.decodeBig(x, word(prime)).Uint64() {
					t.Fatal("MAC differs", c, i)
				}
			}
		}
	}
}

// Anything but 0 in unused bits is bad: in the top of a coefficient and in the
// fields after the last entry. So is a little more noise than the limit.
func TestUnusedBitsAndNoiseAreBad(t *testing.T) {
	for _, c := range configs {
		p := must(newParams(c))
		wire := product(p.WirePrimes())
		for bit := range p.CoefficientBits {
			x := new(big.Int).Mul(wire, pow2(bit))
			x.Add(x, pow2(p.CoefficientBits-1)).Rsh(x, uint(p.CoefficientBits))
			for n := 1; n <= p.Fields; n++ {
				verdict := p.decodeFields(p.prepared([]*big.Int{x}), make([]uint64, n))
				if verdict.Bad != (bit >= n*c.FieldBits) {
					t.Fatal(c, bit, n, verdict)
				}
			}
		}
		for over, bad := range []bool{false, true} { // the largest noise below the limit, and one more
			x := new(big.Int).Mul(wire, word(p.limit))
			x.Rsh(x, uint(64+p.CoefficientBits)).Add(x, big.NewInt(int64(over)))
			if verdict := p.decodeFields(p.prepared([]*big.Int{x}), make([]uint64, p.Fields)); verdict.Bad != bad {
				t.Fatal("noise", c, over, verdict, p.limit)
			}
		}
	}
}

// Mistake 3: without noise, values with equal totals mod p and different numbers
// of wraps leave the same total and a residual of at most n, in units of 1 / Q.
func TestEncodingIsExactWhereSumsWrap(t *testing.T) {
	for _, c := range configs {
		p := must(newParams(c))
		Q := product(p.Primes)
		residual := func(e *exact, values []uint64, num, den *big.Int) *big.Int { // |sum - Q total num / den|
			x, total := p.Ring.NewPoly(), new(big.Int)
			for _, v := range values {
				p.addExact(x, 0, v, e)
				total.Add(total, word(v))
			}
			coefficients := make([]*big.Int, p.N)
			for i := range coefficients {
				coefficients[i] = new(big.Int)
			}
			p.Ring.PolyToBigintCentered(x, 1, coefficients)
			total.Mul(total, Q).Mul(total, num).Add(total, new(big.Int).Rsh(den, 1)).Div(total, den)
			r := new(big.Int).Sub(coefficients[0], total)
			if r.Mod(r, Q); r.Cmp(new(big.Int).Rsh(Q, 1)) > 0 {
				r.Sub(r, Q)
			}
			return r.Abs(r)
		}
		most := big.NewInt(int64(c.Members))
		for i, prime := range p.MACPrimes {
			for wraps := range c.Members {
				left := new(big.Int).Add(big.NewInt(5), new(big.Int).Mul(big.NewInt(int64(wraps)), word(prime)))
				values := make([]uint64, c.Members) // total 5 + wraps p
				for k := range values {
					v := new(big.Int).Set(left)
					if v.Cmp(word(prime-1)) > 0 {
						v.SetUint64(prime - 1)
					}
					values[k] = v.Uint64()
					left.Sub(left, v)
				}
				if left.Sign() != 0 {
					continue
				}
				if r := residual(&p.macs[i], values, big.NewInt(1), word(prime)); r.Cmp(most) > 0 {
					t.Fatal("MAC", c, wraps, r)
				}
			}
			cut := p.macs[i]
			cut.phi = 0
			if r := residual(&cut, slices.Repeat([]uint64{prime - 1}, c.Members), big.NewInt(1), word(prime)); r.Cmp(big.NewInt(int64(1000*c.Members))) < 0 {
				t.Fatal("without the fraction the wraps must show", c, r)
			}
		}
		for f := range p.wide {
			for range 20 {
				values := make([]uint64, c.Members)
				for k := range values {
					values[k] = rand.Uint64N(1 << p.ValueBits)
				}
				if r := residual(&p.wide[f], values, pow2(f*c.FieldBits), p.modulus()); r.Cmp(most) > 0 {
					t.Fatal("wide field", c, f, r)
				}
			}
		}
	}
}

// What is encoded decodes, for every width and every odd number of entries.
func TestEncodeThenDecode(t *testing.T) {
	for bits := 3; bits <= 60; bits++ {
		for _, degree := range Degrees {
			p, err := newParams(Config{degree, 3, 2, bits})
			if err != nil {
				if !errors.Is(err, fault.Capacity) || degree == 8192 {
					t.Fatal(degree, bits, err)
				}
				continue
			}
			for _, entries := range []int{1, p.Fields + 1, 3*p.Fields - 1, p.N*p.Fields - 1} {
				l := must(p.Layout(entries))
				values, chi := make([]uint64, entries), make([]uint64, len(p.MACPrimes))
				for i := range values {
					values[i] = rand.Uint64N(1 << p.ValueBits)
				}
				for m, prime := range p.MACPrimes {
					chi[m] = rand.Uint64N(prime)
				}
				got, gotChi := make([]uint64, entries), make([]uint64, len(chi))
				for c := range l.Ciphertexts {
					s := p.Borrow()
					l.Encode(s, c, values, chi)
					p.Drop(s.X, l.Used(c))
					if verdict := l.Decode(s.X, c, got, gotChi); verdict.Bad {
						t.Fatal("bad", degree, bits, entries, verdict)
					}
					p.Return(s)
				}
				if !slices.Equal(got, values) || !slices.Equal(gotChi, chi) {
					t.Fatal("differs", degree, bits, entries)
				}
			}
		}
	}
}

// Why fields wider than 30 bits are refused at N = 4096: a lie of p = 2^31 - 1
// passes both MAC coefficients, whatever their keys.
func TestMACNeedsNarrowFields(t *testing.T) {
	for _, degree := range Degrees {
		preset := must(PresetOf(degree))
		if _, err := newParams(Config{degree, 6, 2, preset.MaxFieldBits + 1}); !errors.Is(err, fault.Capacity) {
			t.Fatal("allowed")
		}
		for _, prime := range preset.MACPrimes {
			if 1<<preset.MaxFieldBits > prime {
				t.Fatal("a field reaches the MAC's prime")
			}
		}
	}
	p := must(derive(Config{4096, 6, 2, 39}, must(PresetOf(4096))))
	l := must(p.Layout(10))
	keys := func(c, m int) *stream.Stream { return stream.New(stream.Key{byte(c), byte(m)}) }
	values := make([]uint64, 10)
	honest := must(l.Chi(values, keys))
	values[3] = 1<<31 - 1
	if !slices.Equal(honest, must(l.Chi(values, keys))) {
		t.Fatal("expected the lie to pass")
	}
}

// The MAC is the plain sum of products mod p.
func TestChiAgainstBigIntegers(t *testing.T) {
	for _, c := range configs {
		l := must(must(newParams(c)).Layout(1000))
		keys := func(c, m int) *stream.Stream { return stream.New(stream.Key{byte(c), byte(m)}) }
		values := make([]uint64, 1000)
		for i := range values {
			values[i] = 1<<c.FieldBits - 1 - rand.Uint64N(3)
		}
		got := must(l.Chi(values, keys))
		for m, prime := range l.MACPrimes {
			total := new(big.Int)
			for ct := range l.Ciphertexts {
				low, high := l.Range(ct)
				rho := make([]uint64, high-low)
				keys(ct, m).Uniform(rho, prime)
				for i, r := range rho {
					total.Add(total, new(big.Int).Mul(word(r), word(values[low+i])))
				}
			}
			if total.Mod(total, word(prime)).Uint64() != got[m] {
				t.Fatal("differs", c, m)
			}
		}
	}
}

package packed

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"fedanomaly/engine/fault"
)

// k, exact from the primes: the table of the documentation.
func TestTableOfCoefficientBits(t *testing.T) {
	for c, k := range map[Config]int{
		{4096, 16, 4, 20}: 55, {4096, 16, 12, 20}: 54, {4096, 3, 2, 20}: 56,
		{8192, 16, 11, 20}: 160, {8192, 16, 12, 20}: 159, {8192, 64, 4, 20}: 158, {8192, 16, 4, 39}: 160,
	} {
		if got := c.maxBits(must(PresetOf(c.Degree))); got != k {
			t.Errorf("%+v: k = %d, not %d", c, got, k)
		}
	}
}

// The sizes that the budgets promise.
func TestMessageSizes(t *testing.T) {
	for _, c := range []struct {
		config         Config
		entries, bytes int
	}{
		{Config{4096, 16, 4, 20}, 8188, 30720},      // one full ciphertext
		{Config{8192, 16, 4, 20}, 65528, 168960},    // one full ciphertext
		{Config{8192, 16, 4, 20}, 1 << 20, 2703381}, // 0.645 of float32
		{Config{4096, 16, 4, 20}, 100, 390},
	} {
		l := must(must(For(c.config)).Layout(c.entries))
		if l.Bytes() != c.bytes {
			t.Errorf("%+v: %d bytes, not %d", c, l.Bytes(), c.bytes)
		}
	}
}

func TestPresetsKeepTheSecurityBound(t *testing.T) {
	for degree, bits := range map[int]int{4096: 106, 8192: 214} {
		p := must(PresetOf(degree))
		if product(p.Primes).BitLen() > bits || p.Ring.N() != degree {
			t.Fatal(degree, product(p.Primes).BitLen())
		}
		for j, q := range p.Primes {
			if (q-1)%uint64(2*degree) != 0 || j > 0 && q == p.Primes[j-1] {
				t.Fatal("prime", q)
			}
		}
	}
	tooLarge := literals[4096]
	tooLarge.primeBits = []int{60, 47}
	if _, err := build(tooLarge); !errors.Is(err, fault.Parameters) {
		t.Fatal("107 bits at N = 4096 were allowed")
	}
}

func TestImpossibleConfigurationsAreRefused(t *testing.T) {
	for c, want := range map[Config]fault.Code{
		{2048, 6, 2, 20}:   fault.Parameters,
		{0, 6, 2, 20}:      fault.Parameters,
		{4096, 2, 2, 20}:   fault.Parameters,
		{4096, 251, 2, 20}: fault.Parameters,
		{4096, 6, 1, 20}:   fault.Parameters,
		{4096, 6, 6, 20}:   fault.Parameters,
		{4096, 6, 2, 3}:    fault.Capacity, // no bit for a value
		{4096, 6, 2, 31}:   fault.Capacity,
		{8192, 6, 2, 61}:   fault.Capacity,
		{8192, 6, 2, -1}:   fault.Capacity,
	} {
		if _, err := For(c); !errors.Is(err, want) {
			t.Errorf("%+v: %v, not %v", c, err, want)
		}
	}
	p := must(For(Config{4096, 6, 2, 20}))
	for _, entries := range []int{0, -1} {
		if _, err := p.Layout(entries); !errors.Is(err, fault.Argument) {
			t.Error(entries, err)
		}
	}
	most := (QuotaCoefficients - 2) * p.Fields
	must(p.Layout(most))
	one := must(For(Config{4096, 6, 2, 30})) // one field a coefficient: no division makes the number small
	for _, c := range []struct {
		params  *Params
		entries int
	}{{p, most + 1}, {p, math.MaxInt}, {one, math.MaxInt}, {one, math.MaxInt - 1}} {
		if _, err := c.params.Layout(c.entries); !errors.Is(err, fault.Capacity) {
			t.Error("more than a key epoch may open", c.entries, err)
		}
	}
}

// Every roster that exists has parameters at 8192 for 20 bits, with room for
// its noise; the cache stays small.
func TestEveryRosterHasParameters(t *testing.T) {
	for n := MinMembers; n <= MaxMembers; n += 13 {
		for _, threshold := range []int{2, n / 2, n - 1} {
			if threshold < 2 {
				continue
			}
			for _, degree := range Degrees {
				p, err := For(Config{degree, n, threshold, 20})
				if err != nil {
					t.Fatal(degree, n, threshold, err)
				}
				if p.Limit() >= 0.5 {
					t.Fatal("noise beyond half a step", p.Config, p.Limit())
				}
			}
		}
	}
	if len(cache.params) > cacheSize {
		t.Fatal("the cache grows without bound")
	}
}

func TestLayoutCoversEveryEntryOnce(t *testing.T) {
	for _, c := range configs {
		p := must(For(c))
		full := p.N * p.Fields
		for _, entries := range []int{1, p.Fields, full - len(p.macs)*p.Fields, full - 1, full, full + 1, 2*full + 3} {
			t.Run(fmt.Sprint(c, entries), func(t *testing.T) {
				l := must(p.Layout(entries))
				next, words := 0, 0
				for ct := range l.Ciphertexts {
					low, high := l.Range(ct)
					if low != next {
						t.Fatal("gap")
					}
					next = high
					words += l.Used(ct) * len(p.WirePrimes())
				}
				ct, at := l.macAt(len(p.macs) - 1)
				if next != entries || words != l.Words || ct != l.Ciphertexts-1 || at != l.Used(ct)-1 {
					t.Fatal(next, words, ct, at)
				}
			})
		}
	}
}

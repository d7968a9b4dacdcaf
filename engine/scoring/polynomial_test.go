package scoring

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/kernel"
)

// autoencoder draws x -> u = (W x + b)^2 -> |x - A u - c|^2.
func autoencoder(random *rand.Rand, features, hidden, plain int) model {
	m := draw(random, Polynomial, features, hidden)
	for range features {
		for range hidden {
			m.Layer.Mix = append(m.Layer.Mix, 0.2*random.NormFloat64())
		}
		m.Layer.Direct = append(m.Layer.Direct, 1)
		m.Layer.Shift = append(m.Layer.Shift, 0.1*random.NormFloat64())
	}
	m.squares(random, plain)
	return m
}

// loda draws a polynomial of degree 4 for each of some sparse projections: (a u +
// b y + c)^2 + (d y + e)^2.
func loda(random *rand.Rand, features, hidden int) model {
	m := draw(random, Polynomial, features, hidden)
	m.Layer.OfForms = true
	m.Layer.Mix = make([]float64, hidden*hidden)
	for j := range hidden {
		for i := range features {
			if random.IntN(features) > int(math.Sqrt(float64(features))) {
				m.Weights[j*features+i] = 0
			}
		}
		m.Bias[j] = 0.1 * random.NormFloat64()
		m.Layer.Mix[j*hidden+j] = 0.1 + 0.1*random.Float64()
		m.Layer.Direct = append(m.Layer.Direct, 0.3*random.NormFloat64())
		m.Layer.Shift = append(m.Layer.Shift, 0.3*random.NormFloat64())
		for i := range features {
			m.Layer.Weights = append(m.Layer.Weights, 0.5*m.Weights[j*features+i])
		}
		m.Layer.Bias = append(m.Layer.Bias, 0.3*random.NormFloat64())
	}
	return m
}

func (m *model) squares(random *rand.Rand, n int) {
	other := draw(random, Quadratic, m.Features, n)
	m.Layer.Weights, m.Layer.Bias = other.Weights, other.Bias
}

func (m model) degreeFour(x []float64) (score float64) {
	form := func(weights, bias []float64, j int) float64 {
		y := bias[j]
		for i, v := range x {
			y += weights[j*len(x)+i] * v
		}
		return y
	}
	t := x
	y, u := make([]float64, len(m.Bias)), make([]float64, len(m.Bias))
	for j := range y {
		y[j] = form(m.Weights, m.Bias, j)
		u[j] = y[j] * y[j]
	}
	if m.Layer.OfForms {
		t = y
	}
	for i, shift := range m.Layer.Shift {
		r := m.Layer.Direct[i]*t[i] + shift
		for j, v := range u {
			r += m.Layer.Mix[i*len(u)+j] * v
		}
		score += r * r
	}
	for k := range m.Layer.Bias {
		z := form(m.Layer.Weights, m.Layer.Bias, k)
		score += z * z
	}
	return
}

func TestEncryptedPolynomialsAreThePlainOnes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 3))
	for _, test := range []struct {
		m      model
		events int
	}{
		{autoencoder(random, 30, 10, 0), Events - 1},
		{autoencoder(random, 1, 1, 2), 1},
		{autoencoder(random, 7, 3, 5), 2049},
		{loda(random, 12, 10), Events - 1},
		{loda(random, 5, 31), 100},
	} {
		rows := readings(random, test.events*test.m.Features)
		want := test.m.scores(rows)
		for set := range kernel.Best() + 1 {
			c, tenant := pair(t, test.m, set)
			got, err := run(t, c, tenant, rows)
			if err != nil {
				t.Fatal(err)
			}
			if relative := worst(got, want); relative > 3e-3 {
				t.Errorf("%d events: relative error %.1e", test.events, relative)
			} else {
				t.Logf("%d events, scale %d: relative error %.1e", test.events, c.WeightBits, relative)
			}
		}
	}
}

func TestAllSetsGiveTheSamePolynomial(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 3))
	for _, m := range []model{autoencoder(random, 11, 7, 3), loda(random, 4, 6)} {
		first, tenant := pair(t, m, kernel.Portable)
		batch, want, got := make([]uint32, first.BatchWords()), make([]uint32, first.AnswerWords()), make([]uint32, first.AnswerWords())
		if _, err := tenant.Encrypt(readings(random, m.Features*50), batch); err != nil {
			t.Fatal(err)
		}
		if err := first.Score(batch, want); err != nil {
			t.Fatal(err)
		}
		for set := range kernel.Best() + 1 {
			c, _ := pair(t, m, set)
			if err := c.Score(batch, got); err != nil || !slices.Equal(got, want) || !slices.Equal(c.Constants(), first.Constants()) {
				t.Fatalf("%v answers otherwise than %v", set, kernel.Portable)
			}
		}
	}
}

func TestAKeyDecryptsOnePolynomial(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	c, tenant := pair(t, autoencoder(random, 2, 1, 0), kernel.Best())
	batch, answer, out := make([]uint32, c.BatchWords()), make([]uint32, c.AnswerWords()), make([]float64, 3)
	key, err := tenant.Encrypt(readings(random, 6), batch)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Score(batch, answer); err != nil {
		t.Fatal(err)
	}
	answer[len(answer)-1] = 1<<32 - 1
	if err := tenant.Decrypt(key, answer, out); !errors.Is(err, fault.Message) {
		t.Error(err)
	}
	if err := tenant.Decrypt(key, answer, out); !errors.Is(err, fault.Order) {
		t.Errorf("a key opened twice: %v", err)
	}
}

func TestBadLayersAreRefused(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 3))
	for name, spoil := range map[string]func(*Literal){
		"two outputs":   func(l *Literal) { l.Rows = []int{1, 1} },
		"other kind":    func(l *Literal) { l.Kind = Quadratic },
		"mix":           func(l *Literal) { l.Layer.Mix = l.Layer.Mix[1:] },
		"direct":        func(l *Literal) { l.Layer.Direct = l.Layer.Direct[1:] },
		"shift":         func(l *Literal) { l.Layer.Shift = append(l.Layer.Shift, 0) },
		"of forms":      func(l *Literal) { l.Layer.OfForms = true },
		"plain weights": func(l *Literal) { l.Layer.Weights = l.Layer.Weights[1:] },
		"plain bias":    func(l *Literal) { l.Layer.Bias = nil },
		"nan in mix":    func(l *Literal) { l.Layer.Mix[1] = math.NaN() },
		"inf in direct": func(l *Literal) { l.Layer.Direct[1] = math.Inf(1) },
		"nan in shift":  func(l *Literal) { l.Layer.Shift[1] = math.NaN() },
		"far shift":     func(l *Literal) { l.Layer.Shift[1] = 1e9 },
		"nan in plain":  func(l *Literal) { l.Layer.Weights[0] = math.NaN() },
		"large plain":   func(l *Literal) { l.Layer.Weights[0] = 3000 },
		"large weight":  func(l *Literal) { l.Weights[0] = 3000 },
		"large direct":  func(l *Literal) { l.Layer.Direct[0] = 3000 },
		"large mix":     func(l *Literal) { l.Layer.Mix[0] = 1e6 },
		"too many":      func(l *Literal) { *l = loda(random, 1, kernel.MaxHidden+1).Literal },
	} {
		m := autoencoder(random, 3, 2, 1)
		spoil(&m.Literal)
		if _, err := Prepare(m.Literal, seed, kernel.Best()); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	// Exactness asks for the smaller scale of the one, the range for that of the other.
	exact, far := autoencoder(random, 1, 1, 0), autoencoder(random, 1, 1, 0)
	exact.Weights[0], exact.Bias[0], exact.Layer.Mix[0] = 0.1, 0, 3000
	far.Weights[0], far.Bias[0], far.Layer.Mix[0], far.Layer.Shift[0] = 1, 20, 1, 0
	for want, m := range map[int]model{9: exact, 8: far} {
		if bits, err := m.weightBits(); err != nil || bits != want {
			t.Errorf("scale %d, not %d: %v", bits, want, err)
		}
	}
	if _, err := NewTenant(Shape{Polynomial, 1, 2, 12}, canonical.Hash{}, nil); !errors.Is(err, fault.Parameters) {
		t.Error(err)
	}
}

func BenchmarkPolynomial(b *testing.B) {
	random := rand.New(rand.NewPCG(7, 3))
	models := []model{draw(random, Quadratic, 30, 10), autoencoder(random, 30, 10, 0), loda(random, 30, 100)}
	for i, name := range []string{"quadratic", "autoencoder", "loda"} {
		c, tenant := pair(b, models[i], kernel.Best())
		rows, batch, answer := readings(random, 30*c.Events()), make([]uint32, c.BatchWords()), make([]uint32, c.AnswerWords())
		rate := func(b *testing.B) { b.ReportMetric(float64(b.N)*Events/b.Elapsed().Seconds()/1e6, "Mevents/s") }
		b.Run(name+"/score", func(b *testing.B) {
			for b.Loop() {
				if err := c.Score(batch, answer); err != nil {
					b.Fatal(err)
				}
			}
			rate(b)
		})
		b.Run(name+"/roundtrip", func(b *testing.B) {
			for b.Loop() {
				if _, err := run(b, c, tenant, rows); err != nil {
					b.Fatal(err)
				}
			}
			rate(b)
		})
	}
}

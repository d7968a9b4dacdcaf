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

// model is a literal with what it computes in the clear.
type model struct{ Literal }

func draw(random *rand.Rand, kind Kind, features int, rows ...int) model {
	forms := 0
	for _, r := range rows {
		forms += r
	}
	m := model{Literal{Kind: kind, Features: features, Rows: rows}}
	for range forms {
		for range features {
			m.Weights = append(m.Weights, random.NormFloat64()/math.Sqrt(float64(features)))
		}
		m.Bias = append(m.Bias, random.NormFloat64())
	}
	return m
}

func (m model) scores(rows []float64) []float64 {
	n := len(rows) / m.Features
	out := make([]float64, len(m.Rows)*n)
	for e := range n {
		if m.Kind == Polynomial {
			out[e] = m.degreeFour(rows[e*m.Features : (e+1)*m.Features])
			continue
		}
		form := 0
		for o, count := range m.Rows {
			for range count {
				y := m.Bias[form]
				for i, x := range rows[e*m.Features : (e+1)*m.Features] {
					y += m.Weights[form*m.Features+i] * x
				}
				if m.Kind == Quadratic {
					y *= y
				}
				out[o*n+e] += y
				form++
			}
		}
	}
	return out
}

func readings(random *rand.Rand, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = random.NormFloat64()
	}
	return out
}

var seed = canonical.Hash{1, 2, 3}

// pair makes both sides of a circuit.
func pair(t testing.TB, m model, set kernel.Set) (*Circuit, *Tenant) {
	t.Helper()
	circuit, err := Prepare(m.Literal, seed, set)
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := NewTenant(circuit.Shape, seed, circuit.Constants())
	if err != nil {
		t.Fatal(err)
	}
	return circuit, tenant
}

// run scores rows under encryption.
func run(t testing.TB, c *Circuit, tenant *Tenant, rows []float64) ([]float64, error) {
	t.Helper()
	batch, answer := make([]uint32, c.BatchWords()), make([]uint32, c.AnswerWords())
	key, err := tenant.Encrypt(rows, batch)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Score(batch, answer); err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(rows)/c.Features*c.Outputs)
	return out, tenant.Decrypt(key, answer, out)
}

func worst(got, want []float64) (relative float64) {
	for i := range got {
		relative = max(relative, math.Abs(got[i]-want[i])/max(1, math.Abs(want[i])))
	}
	return
}

func TestEncryptedScoresAreThePlainOnes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, test := range []struct {
		m      model
		events int
	}{
		{draw(random, Quadratic, 30, 10), Events},
		{draw(random, Quadratic, 1, 1), 1},
		{draw(random, Quadratic, 9, 61), 2049},
		{draw(random, Quadratic, 5, 3, 1, 7), 100},
		{draw(random, Linear, 30, 1), 2048},
		{draw(random, Linear, 7, 1, 1, 1), Events},
	} {
		for set := range kernel.Best() + 1 {
			c, tenant := pair(t, test.m, set)
			rows := readings(random, test.events*test.m.Features)
			got, err := run(t, c, tenant, rows)
			if err != nil {
				t.Fatal(err)
			}
			if relative := worst(got, test.m.scores(rows)); relative > 5e-4 {
				t.Errorf("%v, %d events: relative error %.1e", test.m.Rows, test.events, relative)
			}
		}
	}
}

func TestAllSetsGiveTheSameAnswer(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	m := draw(random, Quadratic, 11, 33, 2)
	first, tenant := pair(t, m, kernel.Portable)
	batch, want, got := make([]uint32, first.BatchWords()), make([]uint32, first.AnswerWords()), make([]uint32, first.AnswerWords())
	if _, err := tenant.Encrypt(readings(random, 11*50), batch); err != nil {
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

func TestAKeyDecryptsOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 2))
	m := draw(random, Quadratic, 3, 2)
	c, tenant := pair(t, m, kernel.Best())
	batch, answer, out := make([]uint32, c.BatchWords()), make([]uint32, c.AnswerWords()), make([]float64, 5)
	key, _ := tenant.Encrypt(readings(random, 15), batch)
	secret := key.secret
	if err := c.Score(batch, answer); err != nil {
		t.Fatal(err)
	}
	if err := tenant.Decrypt(key, answer, out); err != nil {
		t.Fatal(err)
	}
	if isLeft(secret) {
		t.Error("the secret is still in memory")
	}
	if err := tenant.Decrypt(key, answer, out); !errors.Is(err, fault.Order) {
		t.Errorf("a second answer was opened: %v", err)
	}
	// A bad answer spends the key as well.
	key, _ = tenant.Encrypt(readings(random, 15), batch)
	if err := tenant.Decrypt(key, answer[1:], out); !errors.Is(err, fault.Buffer) {
		t.Error(err)
	}
	if err := tenant.Decrypt(key, answer, out); !errors.Is(err, fault.Order) {
		t.Errorf("a second answer was opened: %v", err)
	}
	other, err := NewTenant(c.Shape, canonical.Hash{9}, c.Constants())
	if err != nil {
		t.Fatal(err)
	}
	key, _ = tenant.Encrypt(readings(random, 15), batch)
	if err := other.Decrypt(key, answer, out); !errors.Is(err, fault.Order) {
		t.Errorf("the key of another tenant was taken: %v", err)
	}
}

// isLeft is whether anything of a secret is still in memory.
func isLeft(s *kernel.Secret) bool {
	return slices.ContainsFunc(slices.Concat(s.Residues, s.Quotients), func(v uint32) bool { return v != 0 })
}

func TestTheSameRowsNeverGiveTheSameBatch(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	c, tenant := pair(t, draw(random, Quadratic, 2, 1), kernel.Best())
	rows := readings(random, 20)
	first, second := make([]uint32, c.BatchWords()), make([]uint32, c.BatchWords())
	for _, out := range [][]uint32{first, second} {
		if _, err := tenant.Encrypt(rows, out); err != nil {
			t.Fatal(err)
		}
	}
	same := 0
	for i := range first {
		if first[i] == second[i] {
			same++
		}
	}
	if same > 3 { // of 24,576 words below 2^30
		t.Errorf("%d words are equal", same)
	}
}

func TestARangeThatIsLeftIsAnErrorAndNoScore(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 2))
	m := model{Literal{Kind: Quadratic, Features: 1, Rows: []int{1}, Weights: []float64{1}, Bias: []float64{0}}}
	c, tenant := pair(t, m, kernel.Best())
	limit, err := c.Range()
	if err != nil {
		t.Fatal(err)
	}
	// All rows alike, some far, one very far: the mean decides.
	for turn := range 60 {
		rows := make([]float64, 1+random.IntN(Events-1))
		rows[0] = 0 // one event whose score is known
		far := MaxReading * random.Float64()
		for i := range rows[1:] {
			if turn%3 == 0 || random.IntN(5) == 0 {
				rows[i+1] = far
			}
		}
		mean := 0.0
		for _, score := range m.scores(rows) {
			mean += score / (Events / 2)
		}
		got, err := run(t, c, tenant, rows)
		switch {
		case err == nil && worst(got, m.scores(rows)) > 5e-4:
			t.Fatalf("mean %.0f of %.0f: a wrong score came out", mean, limit)
		case err == nil && mean > limit*1.001:
			t.Fatalf("mean %.0f is beyond %.0f and was accepted", mean, limit)
		case err != nil && mean < limit*0.999:
			t.Fatalf("mean %.0f of %.0f was refused: %v", mean, limit, err)
		}
	}
}

func TestOverflowNeverGivesAWrongScore(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 2))
	// Weights so large that one far event leaves the range by orders of magnitude.
	m := model{Literal{Kind: Quadratic, Features: 2, Rows: []int{2}, Weights: []float64{200, 30, -7, 150}, Bias: []float64{0, 0}}}
	c, tenant := pair(t, m, kernel.Best())
	accepted := 0
	for range 200 {
		rows := make([]float64, 2*Events)
		for range 1 + random.IntN(40) {
			rows[2+random.IntN(len(rows)-2)] = MaxReading * (2*random.Float64() - 1) * math.Pow(10, -2*random.Float64())
		}
		got, err := run(t, c, tenant, rows)
		if err == nil {
			accepted++
			// Noise moves a form by a few thousandths here; what wraps moves scores by thousands.
			for i, want := range m.scores(rows) {
				if math.Abs(got[i]-want) > 0.1*(1+math.Sqrt(want)) {
					t.Fatalf("%.3f came out as %.3f", want, got[i])
				}
			}
		}
	}
	if accepted < 10 || accepted > 190 {
		t.Errorf("%d of 200 were accepted: the test does not reach both sides", accepted)
	}
}

func TestBadInputIsRefused(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 2))
	m := draw(random, Quadratic, 3, 2)
	c, tenant := pair(t, m, kernel.Best())
	batch, answer := make([]uint32, c.BatchWords()), make([]uint32, c.AnswerWords())
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), MaxReading * 1.0001, -1e300} {
		rows := readings(random, 9)
		rows[random.IntN(9)] = bad
		if _, err := tenant.Encrypt(rows, batch); !errors.Is(err, fault.Value) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for _, n := range []int{0, 2, 3*Events + 3} {
		if _, err := tenant.Encrypt(make([]float64, n), batch); !errors.Is(err, fault.Argument) {
			t.Errorf("%d readings: %v", n, err)
		}
	}
	key, err := tenant.Encrypt(readings(random, 9), batch)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Score(batch[1:], answer); !errors.Is(err, fault.Buffer) {
		t.Error(err)
	}
	if err := c.Score(batch, answer); err != nil {
		t.Fatal(err)
	}
	answer[len(answer)-1] = 1<<32 - 1
	if err := tenant.Decrypt(key, answer, make([]float64, 3)); !errors.Is(err, fault.Message) {
		t.Error(err)
	}
	for name, bad := range map[string]Literal{
		"kind":     {Kind: 9, Features: 1, Rows: []int{1}, Weights: []float64{1}, Bias: []float64{0}},
		"bias":     {Kind: Linear, Features: 1, Rows: []int{1}, Weights: []float64{1}, Bias: nil},
		"rows":     {Kind: Linear, Features: 1, Rows: []int{2}, Weights: []float64{1, 1}, Bias: []float64{0, 0}},
		"none":     {Kind: Linear, Features: 1},
		"nan":      {Kind: Linear, Features: 1, Rows: []int{1}, Weights: []float64{math.NaN()}, Bias: []float64{0}},
		"inf":      {Kind: Linear, Features: 1, Rows: []int{1}, Weights: []float64{1}, Bias: []float64{math.Inf(-1)}},
		"too wide": {Kind: Quadratic, Features: 2, Rows: []int{1}, Weights: []float64{1e5, 1e5}, Bias: []float64{0}},
	} {
		if _, err := Prepare(bad, seed, kernel.Best()); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestAResidueTooLargeGetsNoAnswer(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 2))
	for kind, m := range map[Kind]model{Linear: draw(random, Linear, 3, 1, 1), Quadratic: draw(random, Quadratic, 3, 1, 1),
		Polynomial: autoencoder(random, 3, 2, 1)} {
		for set := kernel.Portable; set <= kernel.Best(); set++ {
			c, tenant := pair(t, m, set)
			batch, answer := make([]uint32, c.BatchWords()), make([]uint32, c.AnswerWords())
			if _, err := tenant.Encrypt(readings(random, 9), batch); err != nil {
				t.Fatal(err)
			}
			batch[len(batch)-77] = 1 << 30
			if err := c.Score(batch, answer); !errors.Is(err, fault.Message) {
				t.Errorf("%v, %v: %v", kind, set, err)
			}
			for _, word := range answer {
				if word != 0 {
					t.Fatalf("%v, %v: wrote an answer", kind, set)
				}
			}
		}
	}
}

func TestNoiseStaysWithinItsBound(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 2))
	// One weight of 1: what is left is the noise of the encryption and of rounding the encoded event. The real part
	// of a sum over N coefficients has half of their variance.
	m := model{Literal{Kind: Linear, Features: 1, Rows: []int{1}, Weights: []float64{1}, Bias: []float64{0}}}
	c, tenant := pair(t, m, kernel.Best())
	deviation := math.Sqrt((21.0/2+1.0/12)*float64(c.preset.points)/2) / math.Exp2(float64(c.preset.inputBits))
	var squares float64
	const batches = 20
	for range batches {
		rows := readings(random, Events)
		got, err := run(t, c, tenant, rows)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			squares += (v - rows[i]) * (v - rows[i])
		}
	}
	measured := math.Sqrt(squares / (batches * Events))
	if ratio := measured / deviation; ratio < 0.98 || ratio > 1.02 {
		t.Errorf("noise is %.3e, expected %.3e", measured, deviation)
	}
}

func BenchmarkEncrypt(b *testing.B) {
	random := rand.New(rand.NewPCG(9, 2))
	c, tenant := pair(b, draw(random, Quadratic, 30, 10), kernel.Best())
	rows, batch := readings(random, 30*Events), make([]uint32, c.BatchWords())
	for b.Loop() {
		if _, err := tenant.Encrypt(rows, batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*Events/b.Elapsed().Seconds()/1e6, "Mevents/s")
}

func BenchmarkRoundTrip(b *testing.B) {
	random := rand.New(rand.NewPCG(9, 2))
	c, tenant := pair(b, draw(random, Quadratic, 30, 10), kernel.Best())
	rows := readings(random, 30*Events)
	for b.Loop() {
		if _, err := run(b, c, tenant, rows); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*Events/b.Elapsed().Seconds()/1e6, "Mevents/s")
}

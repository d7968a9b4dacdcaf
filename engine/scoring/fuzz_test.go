package scoring

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/kernel"
)

// fuzzed is a small model of one kind, for every set, and its tenant.
type fuzzed struct {
	sets   []*Circuit
	tenant *Tenant
}

func fuzzedModels(f *testing.F) (out []fuzzed) {
	f.Helper()
	random := rand.New(rand.NewPCG(5, 6))
	for _, m := range []model{
		draw(random, Linear, 2, 1, 1), draw(random, Quadratic, 2, 2, 1), autoencoder(random, 2, 2, 1),
	} {
		var made fuzzed
		for set := range kernel.Best() + 1 {
			c, tenant := pair(f, m, set)
			made.sets, made.tenant = append(made.sets, c), tenant
		}
		out = append(out, made)
	}
	return
}

func addWords(f *testing.F) {
	f.Helper()
	for at := range uint8(3) {
		f.Add(at, []byte{}, 0)
		f.Add(at, []byte{0, 192, 255, 63, 0}, 0)
		f.Add(at, []byte{1, 2, 3, 4, 5, 6, 7}, math.MaxInt)
		f.Add(at, []byte{255, 255, 255, 255}, math.MaxInt)
		f.Add(at, []byte{0, 0, 0, 128}, polynomialWords(Quadratic))
	}
}

// repeated returns bytes over and over as n words. Few are below the primes as they
// come; nearly all with the upper two bits cleared, as those before `cleared` are.
func repeated(data []byte, n, cleared int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		if len(data) > 3 {
			out[i] = binary.LittleEndian.Uint32(data[4*i%(len(data)-3):])
		}
		if i < cleared {
			out[i] &= 1<<primeBits - 1
		}
	}
	return out
}

// valid tells whether all words are residues; `each` of them are one output's.
func (p *preset) valid(kind Kind, all []uint32, each int) bool {
	for output := range slices.Chunk(all, each) {
		for polynomial := range slices.Chunk(output, min(each, polynomialWords(kind))) {
			for i, w := range polynomial {
				if uint64(w) >= p.primes[i*p.limbs/len(polynomial)] {
					return false
				}
			}
		}
	}
	return true
}

// Who sends a batch gets residues for residues, the same ones from all sets, and
// for everything else nothing.
func FuzzBatch(f *testing.F) {
	addWords(f)
	models := fuzzedModels(f)
	f.Fuzz(func(t *testing.T, at uint8, data []byte, cleared int) {
		var first []uint32
		for _, c := range models[int(at)%len(models)].sets {
			batch, answer := repeated(data, c.BatchWords(), cleared), make([]uint32, c.AnswerWords())
			err := c.Score(batch, answer)
			if whole := c.preset.valid(c.Kind, batch, len(batch)); whole != (err == nil) {
				t.Fatal(c.Kind, c.set, whole, err)
			}
			if err != nil {
				if !errors.Is(err, fault.Message) || slices.Max(answer) > 0 {
					t.Fatal(c.Kind, c.set, err)
				}
				continue
			}
			if !c.preset.valid(c.Kind, answer, answerWords(c.Kind)) {
				t.Fatal("an answer of no residues", c.Kind, c.set)
			}
			if first == nil {
				first = answer
			}
			if !slices.Equal(answer, first) {
				t.Fatal("sets differ", c.Kind, c.set)
			}
		}
	})
}

// Whatever comes as constants and as an answer, the key is spent, and scores are
// numbers that an honest service could have given, or none at all.
func FuzzAnswer(f *testing.F) {
	addWords(f)
	models := fuzzedModels(f)
	f.Fuzz(func(t *testing.T, at uint8, data []byte, cleared int) {
		honest := models[int(at)%len(models)].tenant
		shape, p := honest.Shape, honest.preset
		constants := repeated(data, shape.ConstantWords(), cleared)
		lied, err := NewTenant(shape, seed, constants)
		whole := p.valid(shape.Kind, constants, constantWords(shape.Kind))
		if whole != (err == nil) || err != nil && !errors.Is(err, fault.Message) {
			t.Fatal("constants", shape.Kind, whole, err)
		}
		honest.fuzzAnswer(t, repeated(data, shape.AnswerWords(), cleared))
		if lied != nil {
			lied.fuzzAnswer(t, repeated(data, shape.AnswerWords(), cleared))
		}
	})
}

func (t *Tenant) fuzzAnswer(test *testing.T, answer []uint32) {
	rows := []float64{0.5, -1, 2, 0}
	key, err := t.Encrypt(rows, make([]uint32, t.BatchWords()))
	if err != nil {
		test.Fatal(err)
	}
	scores := make([]float64, len(rows)/t.Features*t.Outputs)
	err = t.Decrypt(key, answer, scores)
	whole := t.preset.valid(t.Kind, answer, answerWords(t.Kind))
	// Outputs are opened in turn: one that leaves the range comes before another that is no residues.
	if refused := errors.Is(err, fault.Message); refused && whole || err == nil && !whole ||
		err != nil && !refused && !errors.Is(err, fault.Range) {
		test.Fatal(t.Kind, whole, err)
	}
	limit, _ := t.Range()
	for _, score := range scores {
		possible := math.Abs(score) <= Events*limit
		if t.Kind != Linear {
			possible = possible && score >= -2*negative*(1+limit)
		}
		if err != nil && score != 0 || !possible {
			test.Fatal("a score that cannot be", t.Kind, score, err)
		}
	}
	if err := t.Decrypt(key, answer, scores); !errors.Is(err, fault.Order) {
		test.Fatal("a key opened twice", err)
	}
}

// A literal of nonsense is refused. What is not refused is computed as in the
// clear, as exactly as weights and readings are rounded, or leaves the range.
func FuzzCircuit(f *testing.F) {
	one, some := floats(0.75), floats(0.3, -0.2, 0.1, 0.5, 60, -50, 40)
	f.Add(int(Linear), 2, []byte{1, 1}, one, true)
	f.Add(int(Quadratic), 3, []byte{2, 1}, one, true)
	f.Add(int(Linear), 2, []byte{1}, some, true)
	f.Add(int(Quadratic), 2, []byte{1}, some, true)
	f.Add(int(Polynomial), 2, []byte{2}, one, true)
	f.Add(int(Polynomial)+8, 2, []byte{2}, one, true)
	f.Add(int(Quadratic), math.MaxInt/2+1, []byte{4}, one, false)
	f.Add(int(Quadratic), 2, []byte{255}, floats(1, math.Inf(1)), true)
	f.Fuzz(func(t *testing.T, kind, features int, rows, numbers []byte, fitting bool) {
		m, x := literalOf(kind, features, rows, numbers, fitting)
		c, err := Prepare(m.Literal, seed, kernel.Best())
		if err != nil {
			return
		}
		tenant, err := NewTenant(c.Shape, seed, c.Constants())
		if err != nil {
			t.Fatal("constants of its own", err)
		}
		limit, _ := c.Range()
		for _, empty := range m.scores(make([]float64, m.Features)) {
			if c.Kind != Linear && 2*empty > 0.99*limit {
				return // all places are out of range: the tenant sees that from the model
			}
		}
		got, err := run(t, c, tenant, x)
		if errors.Is(err, fault.Range) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for o, want := range m.scores(x) {
			if difference := math.Abs(got[o] - want); !(difference <= m.bound(o, want, x, c.WeightBits)) {
				t.Fatal("a wrong score", c.Kind, o, got[o], want, m.bound(o, want, x, c.WeightBits))
			}
		}
	})
}

func floats(numbers ...float64) (out []byte) {
	for _, x := range numbers {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x))
	}
	return
}

// literalOf makes a literal, whose parts fit each other if so wanted, and one event.
func literalOf(kind, features int, rows, numbers []byte, fitting bool) (model, []float64) {
	next := 0
	draw := func(n int) []float64 {
		out := make([]float64, n)
		for i := range out {
			if len(numbers) > 7 {
				out[i] = math.Float64frombits(binary.LittleEndian.Uint64(numbers[8*next%(len(numbers)-7):]))
			}
			next++
		}
		return out
	}
	m := model{Literal{Kind: Kind(kind & 7), Features: features}}
	m.Layer.OfForms = kind&8 != 0
	forms := 0
	for _, count := range rows[:min(len(rows), 4)] {
		m.Rows = append(m.Rows, int(int8(count))%9)
		forms = max(0, forms+m.Rows[len(m.Rows)-1])
	}
	if !fitting {
		m.Weights, m.Bias = draw(len(numbers)%40), draw(len(numbers)%8)
		return m, nil
	}
	m.Features = 1 + (features%8+8)%8
	m.Weights, m.Bias = draw(forms*m.Features), draw(forms)
	if m.Kind == Polynomial {
		n := m.Features
		if m.Layer.OfForms {
			n = forms
		}
		m.Layer.Mix, m.Layer.Direct, m.Layer.Shift = draw(n*forms), draw(n), draw(n)
		m.Layer.Weights, m.Layer.Bias = draw(m.Features), draw(1)
	}
	x := draw(m.Features)
	for i, v := range x {
		if !(math.Abs(v) <= MaxReading) {
			x[i] = 1
		}
	}
	return m, x
}

// bound is how far an output may be from the plain one; see scoring/bounds.py.
func (m model) bound(output int, plain float64, x []float64, weightBits int) float64 {
	if m.Kind == Polynomial {
		return math.Inf(1)
	}
	const reading = 8 * 1.8e-5
	first, sum := 0, 0.0
	for _, count := range m.Rows[:output] {
		first += count
	}
	size := 1.0
	for _, v := range x {
		size += math.Abs(v)
	}
	for form := first; form < first+m.Rows[output]; form++ {
		norm := 0.0
		for _, w := range m.Weights[form*m.Features : (form+1)*m.Features] {
			norm += w * w
		}
		each := reading*math.Sqrt(norm) + size*math.Exp2(-float64(weightBits)-1) + 1e-9*math.Abs(plain)
		sum += each * each
	}
	if m.Kind == Linear {
		return math.Sqrt(sum)
	}
	return 2*math.Sqrt(plain*sum) + sum
}

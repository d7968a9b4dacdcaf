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

// hiddenPair makes both sides of an encrypted model.
func hiddenPair(t testing.TB, m model, set kernel.Set) (*HiddenModel, *ModelKey) {
	t.Helper()
	shape := HiddenShape{m.Features, len(m.Bias)}
	words := make([]uint32, shape.ModelWords())
	key, from, err := HideModel(m.Features, m.Weights, words)
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := NewHiddenModel(shape, from, words, set)
	if err != nil {
		t.Fatal(err)
	}
	return hidden, key
}

// answered encrypts rows and lets the service answer.
func answered(t testing.TB, hidden *HiddenModel, key *ModelKey, rows []float64) (*BatchKey, []uint32) {
	t.Helper()
	batch, answer := make([]uint32, hidden.BatchWords()), make([]uint32, hidden.AnswerWords())
	batchKey, err := key.Encrypt(rows, batch)
	if err != nil {
		t.Fatal(err)
	}
	if err := hidden.Score(batch, answer); err != nil {
		t.Fatal(err)
	}
	return batchKey, answer
}

// outputs adds biases to forms [form][row], and up their squares if that is the kind.
func (m model) outputs(forms []float64) []float64 {
	n := len(forms) / len(m.Bias)
	out, form := make([]float64, len(m.Rows)*n), 0
	for o, count := range m.Rows {
		for range count {
			for e, y := range forms[form*n : (form+1)*n] {
				if y += m.Bias[form]; m.Kind == Quadratic {
					y *= y
				}
				out[o*n+e] += y
			}
			form++
		}
	}
	return out
}

func TestScoresOfAnEncryptedModelAreThePlainOnes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 9))
	for _, test := range []struct {
		m      model
		events int
	}{
		{draw(random, Quadratic, 30, 10), Events},
		{draw(random, Quadratic, 30, 30), Events},
		{draw(random, Quadratic, 100, 20), Events},
		{draw(random, Quadratic, 1, 1), 1},
		{draw(random, Quadratic, 9, 5, 3), 2049},
		{draw(random, Linear, 7, 1, 1, 1), 2048},
	} {
		for set := range kernel.Best() + 1 {
			hidden, key := hiddenPair(t, test.m, set)
			rows := readings(random, test.events*test.m.Features)
			batchKey, answer := answered(t, hidden, key, rows)
			forms := make([]float64, hidden.Forms*test.events)
			if err := key.Decrypt(batchKey, answer, forms); err != nil {
				t.Fatal(err)
			}
			relative := worst(test.m.outputs(forms), test.m.scores(rows))
			t.Logf("%d features, %v, %d bits: relative error %.1e", test.m.Features, test.m.Rows, key.WeightBits, relative)
			if relative > 5e-4 {
				t.Errorf("%v, %d events: relative error %.1e", test.m.Rows, test.events, relative)
			}
		}
	}
}

func TestAllSetsAnswerAnEncryptedModelAlike(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 9))
	m := draw(random, Quadratic, 11, 7)
	words := make([]uint32, HiddenShape{11, 7}.ModelWords())
	key, from, err := HideModel(11, m.Weights, words)
	if err != nil {
		t.Fatal(err)
	}
	batch := make([]uint32, key.BatchWords())
	if _, err := key.Encrypt(readings(random, 11*50), batch); err != nil {
		t.Fatal(err)
	}
	var first []uint32
	for set := range kernel.Best() + 1 {
		hidden, err := NewHiddenModel(key.HiddenShape, from, words, set)
		if err != nil {
			t.Fatal(err)
		}
		answer := make([]uint32, hidden.AnswerWords())
		if err := hidden.Score(batch, answer); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = answer
		}
		if !slices.Equal(answer, first) {
			t.Errorf("%v answers otherwise than %v", set, kernel.Portable)
		}
	}
}

func TestTheNoiseOfAnEncryptedModelIsWhatItsBoundSays(t *testing.T) {
	// Weights of 0 and readings of r in every slot: what is left is the noise e of the weights, a complex number in
	// a slot, times r (1 + i). The real part of a sum over N coefficients has half of their variance.
	const features, forms, r = 20, 5, 50.0
	hidden, key := hiddenPair(t, model{Literal{Kind: Linear, Features: features, Rows: []int{1, 1, 1, 1, 1},
		Weights: make([]float64, features*forms), Bias: make([]float64, forms)}}, kernel.Best())
	rows := make([]float64, features*Events)
	for i := range rows {
		rows[i] = r
	}
	batchKey, answer := answered(t, hidden, key, rows)
	got := make([]float64, forms*Events)
	if err := key.Decrypt(batchKey, answer, got); err != nil {
		t.Fatal(err)
	}
	var squares float64
	for _, v := range got {
		squares += v * v
	}
	weight := math.Sqrt(21.0/2*float64(hidden.preset.points)/2) / math.Exp2(float64(key.WeightBits))
	expected := weight * math.Sqrt(2*features) * r
	measured := math.Sqrt(squares / float64(len(got)))
	if ratio := measured / expected; ratio < 0.97 || ratio > 1.03 {
		t.Errorf("noise is %.3e, expected %.3e", measured, expected)
	}
}

func TestNoReadingsLeadAnEncryptedModelOutOfItsRange(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 9))
	for _, norm := range []float64{1e-3, 1, 8, 8.001, 15.99, 1000, 1 << 19} {
		m := draw(random, Linear, 9, 1)
		sum := 0.0
		for _, w := range m.Weights {
			sum += math.Abs(w)
		}
		for i := range m.Weights {
			m.Weights[i] *= norm / sum
		}
		m.Bias[0] = 0
		hidden, key := hiddenPair(t, m, kernel.Best())
		// The farthest readings with the worst signs, in both halves of all slots, in one, and in all but one.
		for turn := range 4 {
			rows := make([]float64, 9*Events)
			for e := range Events {
				sign := 1.0
				switch {
				case turn == 1 && e >= Events/2:
					sign = -1
				case turn == 2:
					sign = 1 - 2*float64(random.IntN(2))
				case turn == 3 && e > 0:
					sign = 0
				}
				for i, w := range m.Weights {
					rows[e*9+i] = sign * math.Copysign(MaxReading, w)
				}
			}
			batchKey, answer := answered(t, hidden, key, rows)
			got := make([]float64, Events)
			if err := key.Decrypt(batchKey, answer, got); err != nil {
				t.Fatalf("norm %g, turn %d: %v", norm, turn, err)
			}
			for e, want := range m.scores(rows) {
				if math.Abs(got[e]-want) > 1e-4*max(64, 64*norm) {
					t.Fatalf("norm %g: %g came out as %g", norm, want, got[e])
				}
			}
		}
	}
	if _, _, err := HideModel(1, []float64{1<<19 + 1}, make([]uint32, HiddenShape{1, 1}.ModelWords())); !errors.Is(err, fault.Capacity) {
		t.Errorf("weights without room: %v", err)
	}
}

func TestAnAnswerThatLiesEndsTheModelKey(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 9))
	m := draw(random, Quadratic, 4, 3)
	all := polynomialWords(Linear)
	for name, bend := range map[string]func(answer []uint32){
		"the part of u": func(answer []uint32) { answer[3*all+5] ^= 1 },
		"a form":        func(answer []uint32) { answer[all] ^= 1 },
		"zeros":         func(answer []uint32) { clear(answer) },
		"turned":        func(answer []uint32) { slices.Reverse(answer[:4096]) },
	} {
		hidden, key := hiddenPair(t, m, kernel.Best())
		batchKey, answer := answered(t, hidden, key, readings(random, 40))
		other, right := answered(t, hidden, key, readings(random, 40))
		forms, u, constant := make([]float64, 30), key.secrets[2], key.tenant.constant
		bend(answer)
		if err := key.Decrypt(batchKey, answer, forms); !errors.Is(err, fault.Range) {
			t.Fatalf("%s: %v", name, err)
		}
		if slices.ContainsFunc(forms, func(v float64) bool { return v != 0 }) {
			t.Errorf("%s: forms were left", name)
		}
		if isLeft(u) || slices.ContainsFunc(constant, func(v uint32) bool { return v != 0 }) {
			t.Errorf("%s: secrets are still in memory", name)
		}
		if err := key.Decrypt(other, right, forms); !errors.Is(err, fault.Range) {
			t.Errorf("%s: another answer was opened: %v", name, err)
		}
		if other.secret != nil {
			t.Errorf("%s: the key of another batch is still there", name)
		}
		if _, err := key.Encrypt(readings(random, 4), make([]uint32, key.BatchWords())); !errors.Is(err, fault.Range) {
			t.Errorf("%s: another batch was encrypted: %v", name, err)
		}
	}
}

func TestAKeyOfABatchOpensOneAnswerOfAnEncryptedModel(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 9))
	m := draw(random, Quadratic, 3, 2)
	hidden, key := hiddenPair(t, m, kernel.Best())
	forms := make([]float64, 10)
	batchKey, answer := answered(t, hidden, key, readings(random, 15))
	if err := key.Decrypt(batchKey, answer, forms); err != nil {
		t.Fatal(err)
	}
	if err := key.Decrypt(batchKey, answer, forms); !errors.Is(err, fault.Order) {
		t.Errorf("a second answer was opened: %v", err)
	}
	// What is no answer at all spends the key of the batch, and that of the model lives on: no secret decides it.
	for want, bad := range map[fault.Code][]uint32{
		fault.Buffer:  answer[1:],
		fault.Message: append(slices.Clone(answer[:len(answer)-1]), 1<<30),
	} {
		batchKey, answer := answered(t, hidden, key, readings(random, 15))
		if err := key.Decrypt(batchKey, bad, forms); !errors.Is(err, want) {
			t.Error(err)
		}
		if err := key.Decrypt(batchKey, answer, forms); !errors.Is(err, fault.Order) {
			t.Errorf("a second answer was opened: %v", err)
		}
	}
	_, another := hiddenPair(t, m, kernel.Best())
	batchKey, answer = answered(t, hidden, key, readings(random, 15))
	if err := another.Decrypt(batchKey, answer, forms); !errors.Is(err, fault.Order) {
		t.Errorf("the key of another model was taken: %v", err)
	}
}

func TestAClosedModelKeyDoesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(10, 9))
	hidden, key := hiddenPair(t, draw(random, Quadratic, 3, 2), kernel.Best())
	batchKey, answer := answered(t, hidden, key, readings(random, 15))
	u := key.secrets[0]
	key.Close()
	if isLeft(u) {
		t.Error("a secret is still in memory")
	}
	if err := key.Decrypt(batchKey, answer, make([]float64, 10)); !errors.Is(err, fault.Closed) {
		t.Error(err)
	}
	if _, err := key.Encrypt(readings(random, 15), make([]uint32, key.BatchWords())); !errors.Is(err, fault.Closed) {
		t.Error(err)
	}
}

func TestTheSameWeightsNeverGiveTheSameUpload(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 9))
	m := draw(random, Quadratic, 2, 2)
	copy(m.Weights[2:], m.Weights[:2]) // two forms that are one
	words := make([][]uint32, 2)
	var seeds [2]canonical.Hash
	var secrets [][]uint32
	for i := range words {
		words[i] = make([]uint32, HiddenShape{2, 2}.ModelWords())
		key, from, err := HideModel(2, m.Weights, words[i])
		if err != nil {
			t.Fatal(err)
		}
		seeds[i], secrets = from, append(secrets, key.secrets[0].Residues, key.secrets[1].Residues)
	}
	for i, u := range secrets {
		for _, other := range secrets[:i] {
			if slices.Equal(u, other) {
				t.Error("two forms have one secret")
			}
		}
	}
	if seeds[0] == seeds[1] {
		t.Error("two uploads have one seed")
	}
	half := len(words[0]) / 2
	for name, pair := range map[string][2][]uint32{
		"uploads": {words[0], words[1]},
		"forms":   {words[0][:half], words[0][half:]},
	} {
		same := 0
		for i, v := range pair[0] {
			if v == pair[1][i] {
				same++
			}
		}
		if same > 3 { // of 32,768 words below 2^30
			t.Errorf("%d words of two %s are equal", same, name)
		}
	}
}

func TestWhatIsNoEncryptedModelIsRefused(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 9))
	m := draw(random, Quadratic, 3, 2)
	shape := HiddenShape{3, 2}
	words := make([]uint32, shape.ModelWords())
	_, from, err := HideModel(3, m.Weights, words)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewHiddenModel(shape, from, words[1:], kernel.Best()); !errors.Is(err, fault.Buffer) {
		t.Error(err)
	}
	if _, err := NewHiddenModel(shape, from, words, kernel.Best()+1); !errors.Is(err, fault.Argument) {
		t.Error(err)
	}
	for _, bad := range []HiddenShape{{0, 1}, {1, 0}, {-1, -1}, {1 << 40, 1 << 40}, {maxFeatures, 2}, {1, maxOutputs + 1}} {
		if _, err := NewHiddenModel(bad, from, nil, kernel.Best()); !errors.Is(err, fault.Parameters) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for _, at := range []int{0, len(words)/2 - 1, len(words) / 2, len(words) - 1} {
		kept := words[at]
		words[at] = 1 << 30
		if _, err := NewHiddenModel(shape, from, words, kernel.Best()); !errors.Is(err, fault.Message) {
			t.Errorf("word %d: %v", at, err)
		}
		words[at] = kept
	}
	hidden, err := NewHiddenModel(shape, from, words, kernel.Best())
	if err != nil {
		t.Fatal(err)
	}
	clear(words) // its own copy is what was checked
	batch, answer := make([]uint32, hidden.BatchWords()), make([]uint32, hidden.AnswerWords())
	if slices.Max(hidden.rows.Words[:3*kernel.Block]) == 0 {
		t.Error("the model is in the caller's memory")
	}
	if err := hidden.Score(batch[1:], answer); !errors.Is(err, fault.Buffer) {
		t.Error(err)
	}
	if err := hidden.Score(batch, answer[1:]); !errors.Is(err, fault.Buffer) {
		t.Error(err)
	}
	batch[7] = 1 << 30
	if err := hidden.Score(batch, answer); !errors.Is(err, fault.Message) {
		t.Error(err)
	}
	for name, weights := range map[string][]float64{"nan": {math.NaN()}, "inf": {math.Inf(1)}} {
		if _, _, err := HideModel(1, weights, make([]uint32, HiddenShape{1, 1}.ModelWords())); !errors.Is(err, fault.Value) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := HideModel(2, make([]float64, 3), nil); !errors.Is(err, fault.Argument) {
		t.Error(err)
	}
	if _, _, err := HideModel(0, nil, nil); !errors.Is(err, fault.Argument) {
		t.Error(err)
	}
	if _, _, err := HideModel(2, make([]float64, 2), make([]uint32, 5)); !errors.Is(err, fault.Buffer) {
		t.Error(err)
	}
}

func TestAServiceWithAnotherSeedIsFoundOut(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 9))
	m := draw(random, Quadratic, 3, 2)
	words := make([]uint32, HiddenShape{3, 2}.ModelWords())
	key, from, err := HideModel(3, m.Weights, words)
	if err != nil {
		t.Fatal(err)
	}
	from[31] ^= 1
	hidden, err := NewHiddenModel(key.HiddenShape, from, words, kernel.Best())
	if err != nil {
		t.Fatal(err)
	}
	batchKey, answer := answered(t, hidden, key, readings(random, 15))
	if err := key.Decrypt(batchKey, answer, make([]float64, 10)); !errors.Is(err, fault.Range) {
		t.Error(err)
	}
}

func BenchmarkHidden(b *testing.B) {
	random := rand.New(rand.NewPCG(9, 9))
	m := draw(random, Quadratic, 30, 10)
	hidden, key := hiddenPair(b, m, kernel.Best())
	rows, batch := readings(random, 30*Events), make([]uint32, hidden.BatchWords())
	answer, forms := make([]uint32, hidden.AnswerWords()), make([]float64, 10*Events)
	rate := func(b *testing.B) {
		b.ReportMetric(float64(b.N)*Events/b.Elapsed().Seconds()/1e6, "Mevents/s")
	}
	b.Run("hide", func(b *testing.B) {
		words := make([]uint32, hidden.ModelWords())
		for b.Loop() {
			if _, _, err := HideModel(30, m.Weights, words); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encrypt", func(b *testing.B) {
		for b.Loop() {
			if _, err := key.Encrypt(rows, batch); err != nil {
				b.Fatal(err)
			}
		}
		rate(b)
	})
	b.Run("score", func(b *testing.B) {
		for b.Loop() {
			if err := hidden.Score(batch, answer); err != nil {
				b.Fatal(err)
			}
		}
		rate(b)
	})
	b.Run("encrypt, score and decrypt", func(b *testing.B) {
		for b.Loop() {
			batchKey, answer := answered(b, hidden, key, rows)
			if err := key.Decrypt(batchKey, answer, forms); err != nil {
				b.Fatal(err)
			}
		}
		rate(b)
	})
}

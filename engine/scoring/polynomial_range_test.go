package scoring

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/kernel"
)

func TestAWrappedPolynomialIsNeverAScore(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 3))
	// x^4: all rows alike, some far, or a full batch of rows alike.
	m := model{Literal{Kind: Polynomial, Features: 1, Rows: []int{1}, Weights: []float64{1}, Bias: []float64{0},
		Layer: Layer{Mix: []float64{1}, Direct: []float64{0}, Shift: []float64{0}}}}
	c, tenant := pair(t, m, kernel.Best())
	limit, err := c.Range()
	if err != nil {
		t.Fatal(err)
	}
	accepted, refused := 0, 0
	for turn := range 54 {
		rows := make([]float64, 1+random.IntN(c.Events()))
		most := MaxReading * math.Pow(random.Float64(), 0.6)
		for i := range rows {
			switch turn % 3 {
			case 0:
				rows[i] = most
			case 1:
				rows[i] = most * random.Float64()
			case 2:
				if random.IntN(40) == 0 {
					rows[i] = most
				}
			}
		}
		if turn%9 == 0 {
			rows = slices.Repeat([]float64{most}, c.Events())
		}
		want := m.scores(rows)
		mean := 0.0
		for _, score := range want {
			mean += score / Events
		}
		got, err := run(t, c, tenant, rows)
		switch {
		case err == nil && worst(got, want) > 1e-2: // noise of a form of one reading; a wrap is thousands
			t.Fatalf("mean %.0f of %.0f: a wrong score came out, %.1e off", mean, limit, worst(got, want))
		case err == nil && mean > limit*1.001:
			t.Fatalf("mean %.0f is beyond %.0f and was accepted", mean, limit)
		case err != nil && mean < limit*0.999:
			t.Fatalf("mean %.0f of %.0f was refused: %v", mean, limit, err)
		}
		if err == nil {
			accepted++
		} else {
			refused++
		}
	}
	if accepted < 10 || refused < 10 {
		t.Errorf("%d accepted, %d refused: the test does not reach both sides", accepted, refused)
	}
}

func TestTheLastPlaceOfAPolynomialStaysEmpty(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 3))
	_, tenant := pair(t, autoencoder(random, 2, 1, 0), kernel.Best())
	out := make([]uint32, tenant.BatchWords())
	rows := readings(random, 2*Events)
	if _, err := tenant.Encrypt(rows, out); !errors.Is(err, fault.Argument) {
		t.Errorf("a batch that may wrap as one: %v", err)
	}
	if _, err := tenant.Encrypt(rows[2:], out); err != nil {
		t.Error(err)
	}
}

func TestTheScoreOfAnEmptyPlaceIsKnownAndInRange(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 3))
	for _, m := range []model{autoencoder(random, 30, 10, 3), autoencoder(random, 1, 1, 0), loda(random, 5, 7)} {
		want := m.degreeFour(make([]float64, m.Features))
		if score := m.ofOrigin(); math.Abs(score-want) > 1e-12*want {
			t.Errorf("%.3f, not %.3f", score, want)
		}
		for far := 1.0; ; far *= 2 {
			m.Layer.Shift[0] = far
			bits, err := m.weightBits()
			if err != nil {
				break
			}
			limit, err := Shape{Polynomial, m.Features, 1, bits}.Range()
			if err != nil || m.ofOrigin() > limit {
				t.Fatalf("%.3f is beyond %.3f", m.ofOrigin(), limit)
			}
		}
	}
}

func TestFarEventsNeverMakeAWrongPolynomial(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 3))
	m := autoencoder(random, 3, 2, 1)
	for j := range m.Weights {
		m.Weights[j] *= 6
	}
	c, tenant := pair(t, m, kernel.Best())
	accepted := 0
	const batches = 40
	for range batches {
		rows := readings(random, 3*c.Events())
		for range 1 + random.IntN(40) {
			rows[random.IntN(len(rows))] = MaxReading * (2*random.Float64() - 1) * math.Pow(10, -2*random.Float64())
		}
		got, err := run(t, c, tenant, rows)
		if err == nil {
			accepted++
			if relative := worst(got, m.scores(rows)); relative > 0.1 { // weights this large enlarge noise
				t.Fatalf("relative error %.1e", relative)
			}
		}
	}
	if accepted < batches/10 || accepted > batches*9/10 {
		t.Errorf("%d of %d were accepted: the test does not reach both sides", accepted, batches)
	}
}

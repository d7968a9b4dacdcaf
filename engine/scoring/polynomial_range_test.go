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
	// x^4: all rows alike, some far, one very far, or a full batch with one ordinary event.
	m := model{Literal{Kind: Polynomial, Features: 1, Rows: []int{1}, Weights: []float64{1}, Bias: []float64{0},
		Layer: Layer{Mix: []float64{1}, Direct: []float64{0}, Shift: []float64{0}}}}
	c, tenant := pair(t, m, kernel.Best())
	limit, err := c.Range()
	if err != nil {
		t.Fatal(err)
	}
	accepted, refused := 0, 0
	for turn := range 54 {
		rows := make([]float64, 1+random.IntN(Events))
		most := MaxReading * math.Pow(random.Float64(), 0.3)
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
			rows = slices.Repeat([]float64{most}, Events)
			rows[random.IntN(Events)] = 2*random.Float64() - 1
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

func TestAFullBatchNeedsAnOrdinaryEvent(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 3))
	_, tenant := pair(t, autoencoder(random, 2, 1, 0), kernel.Best())
	out := make([]uint32, tenant.BatchWords())
	rows := slices.Repeat([]float64{1, 1.01}, Events)
	if _, err := tenant.Encrypt(rows, out); !errors.Is(err, fault.Range) {
		t.Errorf("a batch that may wrap as one: %v", err)
	}
	if _, err := tenant.Encrypt(rows[2:], out); err != nil {
		t.Errorf("an empty place is an anchor: %v", err)
	}
	rows[2*77+1] = 1
	if _, err := tenant.Encrypt(rows, out); err != nil {
		t.Errorf("an ordinary event is an anchor: %v", err)
	}
}

func TestTheScoreOfAnOrdinaryEventIsBounded(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 3))
	for _, m := range []model{autoencoder(random, 30, 10, 3), autoencoder(random, 1, 1, 0), loda(random, 5, 7)} {
		for range 1000 {
			x, square := readings(random, m.Features), 0.0
			for _, v := range x {
				square += v * v
			}
			for i := range x {
				x[i] *= math.Sqrt(ordinary * float64(m.Features) / square)
			}
			if score := m.degreeFour(x); score > m.anchorScore() {
				t.Fatalf("%.3f is beyond %.3f", score, m.anchorScore())
			}
		}
	}
}

func TestFarEventsNeverMakeAWrongPolynomial(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 3))
	m := autoencoder(random, 3, 2, 1)
	for j := range m.Weights {
		m.Weights[j] *= 40
	}
	c, tenant := pair(t, m, kernel.Best())
	accepted := 0
	const batches = 40
	for range batches {
		rows := readings(random, 3*Events)
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

package scoring

import "math"

// decode turns the residues in the scratch polynomial into scores; false if they
// cannot be those of an honest answer.
//
// A score that leaves the range must not come out as another number. The
// coefficients c are right modulo Q and at most Q / 2. With z_t the two scores of
// slot t, c_k is the mean of z_t times a root of unity, so |c_k| <= mean |z_t| <=
// c_0 + c_(N/2): if those two are right and add up to less than Q / 2, all are.
// If c_0 has wrapped, all scores of the first half are off by a multiple of the
// range, which for sums of squares shows as negative ones, or as a mean that is
// too large. What wraps anywhere else leaves coefficients that look uniform, so
// that half of the scores are negative. Affine forms may be negative; there the
// tenant checks events whose scores it knows.
func (t *Tenant) decode(s *scratch, scores []float64) bool {
	scale := math.Exp2(float64(inputBits + t.WeightBits))
	if t.Kind == Quadratic {
		scale *= 4 * scale
	}
	c := &t.preset.crt
	for n := range s.values {
		var third uint64
		if t.preset.limbs > 2 {
			third = s.poly.Coeffs[2][n]
		}
		s.values[n] = c.centred(s.poly.Coeffs[0][n], s.poly.Coeffs[1][n], third)
	}
	most := c.half() * headroom
	if t.Kind == Quadratic {
		if s.values[0]+s.values[slots] > most {
			return false
		}
	} else {
		for _, v := range s.values {
			if math.Abs(v) > most {
				return false
			}
		}
	}
	for i := range s.slots {
		s.slots[i] = complex(s.values[i]/scale, s.values[i+slots]/scale)
	}
	t.preset.encoder.FFT(s.slots, logN-1)
	least := math.Inf(1)
	for i, z := range s.slots {
		least = min(least, real(z), imag(z))
		if i < len(scores) {
			scores[i] = real(z)
		}
		if i+slots < len(scores) {
			scores[i+slots] = imag(z)
		}
	}
	if t.Kind == Quadratic && least < -negative*(1+math.Abs(s.values[0]+s.values[slots])/scale) {
		return false
	}
	return true
}

const (
	// headroom is the part of the range that may be used.
	headroom = 15.0 / 16
	// negative is how far below 0 noise may bring the score of an event on the
	// mean, against the mean score of its batch.
	negative = 1e-3
)

// Range is the largest sum of the mean scores of both halves of a batch.
func (s Shape) Range() (float64, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	p, err := presetOf(s.Kind)
	if err != nil {
		return 0, err
	}
	scale := math.Exp2(float64(inputBits + s.WeightBits))
	if s.Kind == Quadratic {
		scale *= 4 * scale
	}
	return p.crt.half() * headroom / scale, nil
}

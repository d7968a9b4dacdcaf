package scoring

import (
	"math"

	"fedanomaly/engine/fault"
)

// decode turns the polynomial of an answer into scores; fault.Range if they cannot
// be those of an honest one.
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
//
// One case is left to the tenant: if all scores of a half lie beyond the range,
// none turns negative. So it must know the score of one event in each half.
//
// A Polynomial has one score in a slot: z_t is real, |c_k| <= c_0, and c_(N/2) is
// noise. A batch in which all scores lie beyond the range could wrap as one: every
// score less the range is a score. So its last place stays empty, and Prepare
// takes a scale at which the score of an empty place is in range: if c_0 has
// wrapped, that one comes out below minus the range. Nothing nearer to 0 is
// refused: noise has an imaginary part, whose square is negative.
func (t *Tenant) decode(s *opening, scores []float64) error {
	c, slots, scale := t.encryptor, t.preset.slots, t.scale()
	most := t.preset.crt.half() * headroom / scale
	largest := c.coefficients(s, scale)
	mean := s.values[0] + s.values[slots] // of both halves together
	if t.Kind == Linear && largest > most || t.Kind != Linear && mean > most {
		return fault.Range
	}
	least := c.scores(s, scores)
	lowest := -negative * (1 + math.Abs(mean))
	if t.Kind == Polynomial {
		lowest = -most / 2
	}
	if t.Kind != Linear && least < lowest {
		return fault.Range
	}
	return nil
}

const (
	// headroom is the part of the range that may be used.
	headroom = 15.0 / 16
	// negative is how far below 0 noise may bring the score of an event on the
	// mean, against the mean score of its batch.
	negative = 1e-3
)

// Range is the largest sum of the mean scores of both halves of a batch; for a
// Polynomial the largest mean score of a batch, empty places counted as events.
func (s Shape) Range() (float64, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	p, err := presetOf(s.Kind)
	if err != nil {
		return 0, err
	}
	return p.crt.half() * headroom / s.scale(), nil
}

// ofOrigin is the score of an empty place.
func (l Literal) ofOrigin() (score float64) {
	for i, r := range l.Layer.Shift {
		if l.Layer.OfForms {
			r += l.Layer.Direct[i] * l.Bias[i]
		}
		for j, b := range l.Bias {
			r += l.Layer.Mix[i*len(l.Bias)+j] * b * b
		}
		score += r * r
	}
	for _, b := range l.Layer.Bias {
		score += b * b
	}
	return
}

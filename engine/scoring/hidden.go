package scoring

import (
	"math"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/kernel"
)

// An encrypted model: the service learns neither events nor weights.
//
// The weights w_1 ... w_d of a form are encrypted as a batch is in which every
// event has the readings w: under a ternary secret u of this form alone, with the
// same public polynomials a_i,
//
//	b_i = -a_i u + w_i + e_i        c_i = -a_i s + x_i + e'_i   (a batch)
//
// so that sum (b_i + a_i u)(c_i + a_i s) is w . x in every slot. Of its four parts
//
//	sum b_i c_i  +  u sum a_i c_i  +  s sum (b_i + a_i u) a_i
//
// the service computes the first, one for every form, and the sum in the second,
// one for all of them. The third is s times what the owner knows since it made the
// keys. So the owner takes u sum a_i c_i away (unmask), and what is left is an
// answer of a Linear circuit. It squares and adds the bias itself.
//
// Squares on ciphertexts would be of degree 2 in s and in u. They need N = 8192
// and six primes; a batch takes six times the bytes, and the model twice as many
// as that, because forms could not share sum a_i c_i. An answer of k forms is
// larger than squares only from k = 180 on, with 30 features. And no honest answer
// leaves the range of a form, so one that does is a lie: see ModelKey.Decrypt.
//
// Security: k forms and T batches are k + T secrets, none of which masks two
// messages with one a_i. It is the argument for T batches (docs, encrypted
// scoring) with k more. A key makes one upload, for its own seed.

const (
	// MaxHiddenBits and MinHiddenBits bound the scale of encrypted weights. Finer
	// ones gain nothing: the noise of the readings is larger.
	MaxHiddenBits, MinHiddenBits = 26, 10
	// maxHidden bounds forms times features: 32 KB each.
	maxHidden = 1 << 14
)

// HiddenShape is what a service knows of an encrypted model.
type HiddenShape struct{ Features, Forms int }

func (s HiddenShape) check() error {
	if s.Features < 1 || s.Forms < 1 || s.Features > maxFeatures || s.Forms > maxOutputs || s.Forms > maxHidden/s.Features {
		return fault.Parameters
	}
	return nil
}

// ModelWords is the length of an encrypted model: [form] [batch].
func (s HiddenShape) ModelWords() int { return s.Forms * s.BatchWords() }

// BatchWords is the length of an encrypted batch.
func (s HiddenShape) BatchWords() int { return s.Features * polynomialWords(Linear) }

// AnswerWords is the length of an answer: sum b_i c_i of every form, sum a_i c_i.
func (s HiddenShape) AnswerWords() int { return (s.Forms + 1) * polynomialWords(Linear) }

// Sizes returns the three, if there can be such a model.
func (s HiddenShape) Sizes() (model, batch, answer int, err error) {
	if err := s.check(); err != nil {
		return 0, 0, 0, err
	}
	return s.ModelWords(), s.BatchWords(), s.AnswerWords(), nil
}

// HiddenModel is the service's side: an encrypted model, ready for the batches of
// who encrypted it. Immutable, safe for concurrent use; it holds no secret.
type HiddenModel struct {
	HiddenShape
	preset *preset
	set    kernel.Set
	rows   kernel.Rows // the forms, and the a_i
}

// NewHiddenModel checks an encrypted model and copies it.
func NewHiddenModel(shape HiddenShape, seed canonical.Hash, words []uint32, set kernel.Set) (*HiddenModel, error) {
	if err := shape.check(); err != nil {
		return nil, err
	}
	p, err := presetOf(Linear)
	if err != nil {
		return nil, err
	}
	if len(words) != shape.ModelWords() {
		return nil, fault.Buffer
	}
	if set < kernel.Portable || set > kernel.Best() {
		return nil, fault.Argument
	}
	m := &HiddenModel{HiddenShape: shape, preset: p, set: set, rows: kernel.Rows{
		Points: p.points, Features: shape.Features, Rows: shape.Forms + 1, Primes: p.floats,
		Words: make([]uint32, shape.ModelWords()+shape.BatchWords()),
	}}
	m.put(shape.Forms, p.public(seed, shape.Features))
	own := make([]uint32, shape.BatchWords()) // what is checked is not the caller's, who may change it meanwhile
	for j := range shape.Forms {
		copy(own, words[j*len(own):])
		if !kernel.Below(p.floats, own) {
			return nil, fault.Message
		}
		m.put(j, own)
	}
	return m, nil
}

// put makes a batch one of the rows. They lie side by side block by block: each
// batch meets all of them in one pass over memory, which is what it takes its time for.
func (m *HiddenModel) put(row int, batch []uint32) {
	chunk := m.Features * kernel.Block
	for at := 0; at*chunk < len(batch); at++ {
		copy(m.rows.Words[(at*m.rows.Rows+row)*chunk:], batch[at*chunk:(at+1)*chunk])
	}
}

// Score computes the answer to an encrypted batch.
func (m *HiddenModel) Score(batch, answer []uint32) error {
	if len(batch) != m.BatchWords() || len(answer) != m.AnswerWords() {
		return fault.Buffer
	}
	if !kernel.Below(m.preset.floats, batch) {
		return fault.Message
	}
	m.rows.Times(m.set, batch, answer)
	return nil
}

// hiddenBits is the largest scale with which the weights of each form together are
// at most what a reading may be. Then every weight is encoded as a reading is, and
// w . x of readings of at most MaxReading, two of them in a slot, has coefficients
// of at most sqrt(2) 2^58, which is 71 % of half the modulus.
func hiddenBits(features int, weights []float64) (int, error) {
	largest, ok := largestNorm(weights, make([]float64, len(weights)/features))
	if !ok {
		return 0, fault.Value
	}
	most := MaxReading * literals[Linear].scale()
	for b := MaxHiddenBits; b >= MinHiddenBits; b-- {
		if largest*math.Exp2(float64(b)) <= most {
			return b, nil
		}
	}
	return 0, fault.Capacity
}

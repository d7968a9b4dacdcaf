// Package scoring computes anomaly scores on ciphertexts without any evaluation
// key: a tenant encrypts a batch of events under a secret that exists for that
// batch only, a service adds and multiplies, the tenant decrypts an answer of
// degree 1, 2 or 4 in the secret.
//
// The polynomials a_i are public, fixed for (model, tenant) and chosen by nobody;
// what changes from batch to batch is the secret (RLWE with many secrets). One
// secret under which two batches were encrypted would show their difference, so a
// key is born by encrypting and can only decrypt, once.
package scoring

import (
	"math"
	"math/big"
	"sync"

	"github.com/tuneinsight/lattigo/v6/ring"
	"github.com/tuneinsight/lattigo/v6/schemes/ckks"

	"fedanomaly/engine/fault"
)

// Kind says what a circuit computes.
type Kind int

// The kinds; their numbers are part of the ABI.
const (
	Linear    Kind = 1 // every output is one affine form
	Quadratic Kind = 2 // every output is a sum of squares of affine forms
	// Polynomial has one output: squares of rows that mix the squares of affine
	// forms with the readings or the forms themselves, and plain squares.
	Polynomial Kind = 3
)

// Events is how many places for events a batch has; see Shape.Events.
const Events = 1 << 12

const (
	// MaxReading bounds a reading: the encoded coefficients stay below every prime.
	MaxReading = 64
	// MaxWeightBits and MinWeightBits bound the scale of the weights: for a
	// Polynomial, of those that mix; all others have layerBits.
	MaxWeightBits, MinWeightBits = 15, 4
	// primeBits: products of two residues, thirty of them, fit 63 bits.
	primeBits                        = 30
	maxFeatures, maxRows, maxOutputs = 10_000, 10_000, 1_000
)

// literal is what a kind asks of its ring.
type literal struct {
	logN, limbs   int
	inputBits     int // the scale of the events: a reading of 1 is 2^inputBits
	maxWeightBits int
	paired        bool // two events in every complex slot; otherwise one, and the imaginary part stays 0
}

// A Polynomial has one event in a slot. With two, conjugation brings a second
// secret s(1/X): fifteen monomials of degree 4 instead of five, a quarter more
// bytes for every answer, and by a count of operations a kernel only a fifth faster.
var literals = map[Kind]literal{
	Linear:     {logN: 12, limbs: 2, inputBits: 23, maxWeightBits: MaxWeightBits, paired: true},
	Quadratic:  {logN: 12, limbs: 3, inputBits: 23, maxWeightBits: MaxWeightBits, paired: true},
	Polynomial: {logN: 13, limbs: 6, inputBits: 23, maxWeightBits: 10},
}

// maxLogQ: 128 bits against classical attacks for a ternary secret, by logN.
// Source: Bossuat et al., Security Guidelines for Implementing Homomorphic
// Encryption (2024), table 4.2.
var maxLogQ = map[int]int{12: 106, 13: 214}

func (l literal) points() int { return 1 << l.logN }

// scale is what a reading of 1 is in a batch.
func (l literal) scale() float64 { return math.Exp2(float64(l.inputBits)) }

// preset is a ring with its constants. Immutable.
type preset struct {
	literal
	points, slots int
	ring          *ring.Ring
	primes        []uint64
	floats        []float64
	encoder       *ckks.Encoder
	root          [][]uint64 // NTT of X^(N/2), a square root of -1 at every point
	crt           crt
}

var presets = map[Kind]func() (*preset, error){
	Linear:     sync.OnceValues(func() (*preset, error) { return newPreset(Linear) }),
	Quadratic:  sync.OnceValues(func() (*preset, error) { return newPreset(Quadratic) }),
	Polynomial: sync.OnceValues(func() (*preset, error) { return newPreset(Polynomial) }),
}

func presetOf(kind Kind) (*preset, error) {
	get, ok := presets[kind]
	if !ok {
		return nil, fault.Parameters
	}
	return get()
}

func newPreset(kind Kind) (*preset, error) {
	p := &preset{literal: literals[kind]}
	p.points = p.literal.points()
	p.slots = p.points / 2
	step := 2 * uint64(p.points)
	product := big.NewInt(1)
	for q := uint64(1)<<primeBits + 1 - step; len(p.primes) < p.limbs; q -= step {
		if ring.IsPrime(q) {
			p.primes, p.floats = append(p.primes, q), append(p.floats, float64(q))
			product.Mul(product, new(big.Int).SetUint64(q))
		}
	}
	if product.BitLen() > maxLogQ[p.logN] {
		return nil, fault.Parameters
	}
	params, err := ckks.NewParametersFromLiteral(ckks.ParametersLiteral{
		LogN: p.logN, Q: p.primes, LogDefaultScale: p.inputBits,
	})
	if err != nil {
		return nil, fault.Parameters
	}
	p.ring, p.encoder, p.crt = params.RingQ(), ckks.NewEncoder(params), newCRT(params.RingQ())
	root := p.ring.NewPoly()
	for l := range p.primes {
		root.Coeffs[l][p.slots] = 1
	}
	p.ring.NTT(root, root)
	p.root = root.Coeffs
	return p, nil
}

// Shape is what a tenant knows of a circuit.
type Shape struct {
	Kind       Kind
	Features   int
	Outputs    int
	WeightBits int // the scale of the weights: 1 is 2^WeightBits
}

func (s Shape) check() error {
	l, ok := literals[s.Kind]
	if !ok || s.WeightBits < MinWeightBits || s.WeightBits > l.maxWeightBits || s.Kind == Polynomial && s.Outputs != 1 {
		return fault.Parameters
	}
	if s.Features < 1 || s.Features > maxFeatures || s.Outputs < 1 || s.Outputs > maxOutputs {
		return fault.Parameters
	}
	return nil
}

// Events is how many events a batch holds. A Polynomial leaves the last place
// empty: range.go says why.
func (s Shape) Events() int {
	if s.Kind == Polynomial {
		return Events - 1
	}
	return Events
}

// scale is what a score of 1 is in an answer.
func (s Shape) scale() float64 {
	input := literals[s.Kind].inputBits
	switch form := math.Exp2(float64(input + s.WeightBits)); s.Kind {
	case Linear:
		return form
	case Quadratic:
		return 4 * form * form
	default:
		return math.Exp2(float64(2 * rowBits(input, s.WeightBits)))
	}
}

// BatchWords is the length of an encrypted batch, in words of 32 bits.
func (s Shape) BatchWords() int { return polynomialWords(s.Kind) * s.Features }

// AnswerWords is the length of an answer.
func (s Shape) AnswerWords() int { return s.Outputs * answerWords(s.Kind) }

// ConstantWords is the length of what is the same in every answer, and sent once.
func (s Shape) ConstantWords() int { return s.Outputs * constantWords(s.Kind) }

// polynomialWords is the length of one polynomial.
func polynomialWords(kind Kind) int {
	l, ok := literals[kind]
	if !ok {
		return 0
	}
	return l.limbs * l.points()
}

func answerWords(kind Kind) int {
	all := polynomialWords(kind)
	switch kind {
	case Linear:
		return all
	case Quadratic:
		return 3*all + all/2 // S1, S2, U, T1
	default:
		return 4 * all // the coefficients of 1, s, s^2, s^3
	}
}

func constantWords(kind Kind) int {
	all := polynomialWords(kind)
	if kind == Quadratic {
		return all + all/2 // S3, T3
	}
	return all
}

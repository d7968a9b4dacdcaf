// Package scoring computes anomaly scores on ciphertexts without any evaluation
// key: a tenant encrypts a batch of events under a secret that exists for that
// batch only, a service adds and multiplies, the tenant decrypts an answer of
// degree 1 or 2 in the secret.
//
// The polynomials a_i are public, fixed for (model, tenant) and chosen by nobody;
// what changes from batch to batch is the secret (RLWE with many secrets). One
// secret under which two batches were encrypted would show their difference, so a
// key is born by encrypting and can only decrypt, once.
package scoring

import (
	"math/big"
	"sync"

	"github.com/tuneinsight/lattigo/v6/ring"
	"github.com/tuneinsight/lattigo/v6/schemes/ckks"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/kernel"
)

// Kind says what a circuit computes.
type Kind int

// The kinds; their numbers are part of the ABI.
const (
	Linear    Kind = 1 // every output is one affine form
	Quadratic Kind = 2 // every output is a sum of squares of affine forms
)

// Events is how many events a batch holds: two in every complex slot.
const Events = points

const (
	logN   = 12
	points = 1 << logN
	slots  = points / 2
	blocks = points / kernel.Block

	// inputBits is the scale of the events: a reading of 1 is 2^inputBits.
	inputBits = 23
	// MaxReading bounds a reading: the encoded coefficients stay below every prime.
	MaxReading = 64
	// MaxWeightBits and MinWeightBits bound the scale of the weights.
	MaxWeightBits, MinWeightBits = 15, 4
	// primeBits: products of two residues, thirty of them, fit 63 bits.
	primeBits = 30
	// maxLogQ: 128 bits against classical attacks for a ternary secret at N = 4096.
	// Source: Bossuat et al., Security Guidelines for Implementing Homomorphic
	// Encryption (2024), table 4.2.
	maxLogQ = 106

	maxFeatures, maxRows, maxOutputs = 10_000, 10_000, 1_000
)

// limbs is how many primes a kind needs: an affine form is short enough for two.
var limbs = map[Kind]int{Linear: 2, Quadratic: 3}

// preset is a ring with its constants. Immutable.
type preset struct {
	kind    Kind
	limbs   int
	ring    *ring.Ring
	primes  []uint64
	floats  []float64
	encoder *ckks.Encoder
	root    [][]uint64 // NTT of X^(N/2), a square root of -1 at every point
	crt     crt
}

var presets = map[Kind]func() (*preset, error){
	Linear:    sync.OnceValues(func() (*preset, error) { return newPreset(Linear) }),
	Quadratic: sync.OnceValues(func() (*preset, error) { return newPreset(Quadratic) }),
}

func presetOf(kind Kind) (*preset, error) {
	get, ok := presets[kind]
	if !ok {
		return nil, fault.Parameters
	}
	return get()
}

func newPreset(kind Kind) (*preset, error) {
	p := &preset{kind: kind, limbs: limbs[kind]}
	product := big.NewInt(1)
	for q := uint64(1)<<primeBits + 1 - 2*points; len(p.primes) < p.limbs; q -= 2 * points {
		if ring.IsPrime(q) {
			p.primes, p.floats = append(p.primes, q), append(p.floats, float64(q))
			product.Mul(product, new(big.Int).SetUint64(q))
		}
	}
	if product.BitLen() > maxLogQ {
		return nil, fault.Parameters
	}
	params, err := ckks.NewParametersFromLiteral(ckks.ParametersLiteral{
		LogN: logN, Q: p.primes, LogDefaultScale: inputBits,
	})
	if err != nil {
		return nil, fault.Parameters
	}
	p.ring, p.encoder, p.crt = params.RingQ(), ckks.NewEncoder(params), newCRT(p.primes)
	root := p.ring.NewPoly()
	for l := range p.primes {
		root.Coeffs[l][points/2] = 1
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
	if limbs[s.Kind] == 0 || s.WeightBits < MinWeightBits || s.WeightBits > MaxWeightBits {
		return fault.Parameters
	}
	if s.Features < 1 || s.Features > maxFeatures || s.Outputs < 1 || s.Outputs > maxOutputs {
		return fault.Parameters
	}
	return nil
}

// BatchWords is the length of an encrypted batch, in words of 32 bits.
func (s Shape) BatchWords() int { return limbs[s.Kind] * points * s.Features }

// AnswerWords is the length of an answer.
func (s Shape) AnswerWords() int { return s.Outputs * answerWords(s.Kind) }

// ConstantWords is the length of what is the same in every answer, and sent once.
func (s Shape) ConstantWords() int { return s.Outputs * constantWords(s.Kind) }

func answerWords(kind Kind) int {
	all := limbs[kind] * points
	if kind == Linear {
		return all
	}
	return 3*all + all/2 // S1, S2, U, T1
}

func constantWords(kind Kind) int {
	all := limbs[kind] * points
	if kind == Linear {
		return all
	}
	return all + all/2 // S3, T3
}

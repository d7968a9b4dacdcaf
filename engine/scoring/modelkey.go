package scoring

import (
	"errors"
	"math"
	"sync"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/kernel"
	"fedanomaly/engine/stream"
)

// ModelKey is the owner's side of an encrypted model: what encrypts batches for
// it and decrypts their answers. Safe for concurrent use.
//
// It lives as long as the model is used, so what somebody learns about it adds up.
// That is why it ends with the first answer that cannot be an honest one.
type ModelKey struct {
	HiddenShape
	WeightBits int // the scale of the weights: 1 is 2^WeightBits
	lock       sync.RWMutex
	ended      error            // why nothing is encrypted and decrypted any more
	secrets    []*kernel.Secret // u of each form
	tenant     *Tenant          // of the Linear circuit that is left once u is taken away
}

// HideModel encrypts weights [form][feature] into out, under fresh secrets, and
// returns their key and the seed of the public polynomials, which go to the
// service as well. Biases stay with the owner. No call encrypts another model
// under the same secrets.
func HideModel(features int, weights []float64, out []uint32) (*ModelKey, canonical.Hash, error) {
	if features < 1 || len(weights)%features != 0 {
		return nil, canonical.Hash{}, fault.Argument
	}
	shape := HiddenShape{features, len(weights) / features}
	if err := shape.check(); err != nil {
		return nil, canonical.Hash{}, err
	}
	if len(out) != shape.ModelWords() {
		return nil, canonical.Hash{}, fault.Buffer
	}
	bits, err := hiddenBits(features, weights)
	if err != nil {
		return nil, canonical.Hash{}, err
	}
	p, err := presetOf(Linear)
	if err != nil {
		return nil, canonical.Hash{}, err
	}
	seed := canonical.Hash(stream.Fresh())
	t := &Tenant{Shape: Shape{Linear, features, shape.Forms, bits}, preset: p}
	t.equip(seed)
	k := &ModelKey{HiddenShape: shape, WeightBits: bits, tenant: t}
	if err := k.encrypt(weights, out); err != nil {
		clear(out)
		return nil, canonical.Hash{}, err
	}
	k.fix(out)
	return k, seed, nil
}

// encrypt writes the weights of every form, each like a batch of events that have
// them for readings: N/2 of them, so that the imaginary parts of all slots are 0.
func (k *ModelKey) encrypt(weights []float64, out []uint32) error {
	t, d := k.tenant, k.Features
	s := t.scratch.Get().(*scratch)
	defer func() { s.wipe(); t.scratch.Put(s) }()
	fresh := stream.Fresh()
	random := stream.New(fresh)
	defer random.Wipe() // the secrets are made of its words
	fresh.Wipe()
	rows := make([]float64, d*t.preset.slots)
	defer clear(rows)
	scale := math.Exp2(float64(k.WeightBits - t.preset.inputBits)) // readings have another one
	for j := range k.Forms {
		for i, w := range weights[j*d : (j+1)*d] {
			rows[i] = w * scale
		}
		for at := d; at < len(rows); at *= 2 {
			copy(rows[at:], rows[:at])
		}
		secret, err := t.encryptor.encrypt(rows, d, t.public, random, s, out[j*k.BatchWords():(j+1)*k.BatchWords()])
		if err != nil {
			return err
		}
		k.secrets = append(k.secrets, secret)
	}
	return nil
}

// fix computes what s is multiplied by, sum (b_i + a_i u) a_i for every form.
func (k *ModelKey) fix(model []uint32) {
	p, all := k.tenant.preset, polynomialWords(Linear)
	row := kernel.Rows{Points: p.points, Features: k.Features, Rows: 1, Primes: p.floats}
	sums := make([]uint32, k.AnswerWords())
	for j := range k.Forms + 1 {
		row.Words = k.tenant.public
		if j < k.Forms {
			row.Words = model[j*k.BatchWords() : (j+1)*k.BatchWords()]
		}
		row.Times(kernel.Best(), k.tenant.public, sums[j*all:(j+1)*all])
	}
	k.tenant.constant = k.unmask(sums)
}

// unmask adds u times the last polynomial to all others.
func (k *ModelKey) unmask(sums []uint32) []uint32 {
	all := polynomialWords(Linear)
	last := sums[k.Forms*all:]
	out := make([]uint32, k.Forms*all)
	for j, u := range k.secrets {
		k.tenant.encryptor.addProduct(sums[j*all:(j+1)*all], last, u, out[j*all:(j+1)*all])
	}
	return out
}

// Encrypt is Tenant.Encrypt, for this model.
func (k *ModelKey) Encrypt(rows []float64, out []uint32) (*BatchKey, error) {
	k.lock.RLock()
	defer k.lock.RUnlock()
	if k.ended != nil {
		return nil, k.ended
	}
	return k.tenant.Encrypt(rows, out)
}

// Decrypt opens the answer to the batch of a key and writes the forms without
// their biases, [form][row]. Right or wrong, the key of the batch is spent.
//
// A form of readings that Encrypt took is in range whatever they are. If an answer
// is not, somebody made it, to see whether it is refused: that tells something of
// s, which is gone, but also of u. So it ends this key too, with fault.Range for
// this call and all later ones: a service gets one refusal out of an encrypted
// model. That an answer has another length, or words that are no residues, depends
// on no secret and ends nothing.
func (k *ModelKey) Decrypt(key *BatchKey, answer []uint32, forms []float64) error {
	err := k.decrypt(key, answer, forms)
	if errors.Is(err, fault.Range) {
		k.end(fault.Range)
	}
	return err
}

func (k *ModelKey) decrypt(key *BatchKey, answer []uint32, forms []float64) error {
	k.lock.RLock()
	defer k.lock.RUnlock()
	err := k.ended
	switch {
	case err != nil:
	case len(answer) != k.AnswerWords():
		err = fault.Buffer
	case !k.tenant.belowPrimes(answer):
		err = fault.Message
	}
	if err != nil {
		key.Close()
		return err
	}
	open := k.unmask(answer)
	defer clear(open) // beside the answer it shows u
	return k.tenant.Decrypt(key, open, forms)
}

// Close forgets the secrets, after the calls under way.
func (k *ModelKey) Close() { k.end(fault.Closed) }

func (k *ModelKey) end(why error) {
	k.lock.Lock()
	defer k.lock.Unlock()
	if k.ended != nil {
		return
	}
	for _, u := range k.secrets {
		u.Wipe()
	}
	clear(k.tenant.constant)
	k.ended, k.secrets = why, nil
}

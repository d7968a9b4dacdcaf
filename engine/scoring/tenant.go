package scoring

import (
	"sync"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/kernel"
	"fedanomaly/engine/stream"
	"fedanomaly/engine/workers"
)

// Tenant encrypts batches for one circuit and decrypts the answers. Immutable,
// safe for concurrent use; it holds no secret.
type Tenant struct {
	Shape
	preset    *preset
	encryptor *encryptor
	public    []uint32
	constant  []uint32
	scratch   sync.Pool // to encrypt
	openings  sync.Pool // to decrypt
}

// NewTenant makes the tenant's side of a circuit from what the service sent.
func NewTenant(shape Shape, seed canonical.Hash, constants []uint32) (*Tenant, error) {
	if err := shape.check(); err != nil {
		return nil, err
	}
	p, err := presetOf(shape.Kind)
	if err != nil {
		return nil, err
	}
	if len(constants) != shape.ConstantWords() {
		return nil, fault.Buffer
	}
	t := &Tenant{Shape: shape, preset: p, constant: make([]uint32, len(constants))}
	copy(t.constant, constants)
	for o := range shape.Outputs {
		part := t.constant[o*constantWords(shape.Kind) : (o+1)*constantWords(shape.Kind)]
		all := polynomialWords(shape.Kind)
		if !kernel.Below(p.floats, part[:all]) || len(part) > all && !kernel.Below(p.floats, part[all:]) {
			return nil, fault.Message
		}
	}
	t.equip(seed)
	return t, nil
}

// equip gives a tenant of a shape what it encrypts and decrypts with.
func (t *Tenant) equip(seed canonical.Hash) {
	p := t.preset
	t.public, t.encryptor = p.public(seed, t.Features), newEncryptor(p, kernel.Best())
	t.scratch.New = func() any { return t.encryptor.newScratch(t.Features) }
	t.openings.New = func() any { return t.encryptor.newOpening() }
}

// BatchKey is the secret of one batch. It is made by encrypting and serves to
// decrypt one answer; no call encrypts under a key that exists.
type BatchKey struct {
	sync.Mutex
	tenant *Tenant
	secret *kernel.Secret // nil once used
	filled int
}

// Encrypt encrypts up to Events() rows, readings [row][feature] of at most
// MaxReading, into out and returns the key of the answer. On an error nothing is
// written.
func (t *Tenant) Encrypt(rows []float64, out []uint32) (*BatchKey, error) {
	n := len(rows) / t.Features
	if n*t.Features != len(rows) || n < 1 || n > t.Events() {
		return nil, fault.Argument
	}
	if len(out) != t.BatchWords() {
		return nil, fault.Buffer
	}
	if !kernel.Within(t.encryptor.set, rows, MaxReading) {
		return nil, fault.Value
	}
	s := t.scratch.Get().(*scratch)
	defer func() { s.wipe(); t.scratch.Put(s) }()
	seed := stream.Fresh()
	random := stream.New(seed)
	defer random.Wipe() // the secret is made of its words
	seed.Wipe()
	secret, err := t.encryptor.encrypt(rows, t.Features, t.public, random, s, out)
	if err != nil {
		clear(out)
		return nil, err
	}
	return &BatchKey{tenant: t, secret: secret, filled: n}, nil
}

// Decrypt opens the answer to the batch of a key and writes the scores, [output]
// [row]. Right or wrong, the key is spent: a second answer to one batch would
// make an oracle.
//
// What no honest answer gives (a score below 0, a batch whose mean leaves the
// range) is rejected; see range.go for why a score that wrapped does not pass.
func (t *Tenant) Decrypt(key *BatchKey, answer []uint32, scores []float64) error {
	key.Lock()
	defer key.Unlock()
	if key.tenant != t || key.secret == nil {
		return fault.Order
	}
	defer key.erase()
	n := key.filled
	if len(answer) != t.AnswerWords() || len(scores) != n*t.Outputs {
		return fault.Buffer
	}
	each, constants := answerWords(t.Kind), constantWords(t.Kind)
	failed := make([]error, t.Outputs)
	err := workers.Each(t.Outputs, func(o int) {
		failed[o] = t.open(key.secret, answer[o*each:(o+1)*each], t.constant[o*constants:(o+1)*constants], scores[o*n:(o+1)*n])
	})
	for _, f := range failed {
		if err == nil {
			err = f
		}
	}
	if err != nil {
		clear(scores)
	}
	return err
}

// open decrypts one output.
func (t *Tenant) open(secret *kernel.Secret, answer, constant []uint32, scores []float64) error {
	if !t.belowPrimes(answer) {
		return fault.Message
	}
	s := t.openings.Get().(*opening)
	defer func() { s.wipe(); t.openings.Put(s) }()
	t.encryptor.open(t.Kind, answer, constant, secret, s.words)
	return t.decode(s, scores)
}

// Close forgets a key that no answer came for.
func (k *BatchKey) Close() {
	k.Lock()
	defer k.Unlock()
	k.erase()
}

func (k *BatchKey) erase() {
	if k.secret != nil {
		k.secret.Wipe()
	}
	k.secret = nil
}

func (t *Tenant) belowPrimes(part []uint32) bool {
	all := polynomialWords(t.Kind)
	for ; len(part) >= all; part = part[all:] {
		if !kernel.Below(t.preset.floats, part[:all]) {
			return false
		}
	}
	return len(part) == 0 || kernel.Below(t.preset.floats, part)
}

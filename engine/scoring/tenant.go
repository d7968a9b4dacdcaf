package scoring

import (
	"math"
	"sync"

	"github.com/tuneinsight/lattigo/v6/ring"

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

// opening is the working memory of one call that decrypts. It has held plaintext,
// so it is cleared before it is given back.
type opening struct {
	poly   ring.Poly
	values []float64
	slots  []complex128
}

func (o *opening) wipe() {
	for _, c := range o.poly.Coeffs {
		clear(c)
	}
	clear(o.values)
	clear(o.slots)
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
	t.openings.New = func() any {
		return &opening{p.ring.NewPoly(), make([]float64, p.points), make([]complex128, p.slots)}
	}
}

// BatchKey is the secret of one batch. It is made by encrypting and serves to
// decrypt one answer; no call encrypts under a key that exists.
type BatchKey struct {
	sync.Mutex
	tenant *Tenant
	secret ring.Poly // NTT, Montgomery form; nil once used
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
	if beyond(rows) {
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

// beyond tells whether a reading is missing, infinite or farther than MaxReading
// from 0.
func beyond(rows []float64) bool {
	// Without the sign, float64 sort as integers, infinities and NaN above all others; and a difference below 0 has
	// the highest bit.
	const sign = 1 << 63
	limit := math.Float64bits(MaxReading)
	var below uint64
	for _, x := range rows {
		below |= limit - math.Float64bits(x)&^sign
	}
	return below&sign != 0
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
	if key.tenant != t || key.secret.Coeffs == nil {
		return fault.Order
	}
	defer key.erase()
	n := key.filled
	if len(answer) != t.AnswerWords() || len(scores) != n*t.Outputs {
		return fault.Buffer
	}
	s := t.openings.Get().(*opening)
	defer func() { s.wipe(); t.openings.Put(s) }()
	each, constants := answerWords(t.Kind), constantWords(t.Kind)
	for o := range t.Outputs {
		part, constant := answer[o*each:(o+1)*each], t.constant[o*constants:(o+1)*constants]
		if !t.belowPrimes(part) {
			clear(scores)
			return fault.Message
		}
		if err := t.open(key.secret, part, constant, s); err != nil {
			clear(scores)
			return err
		}
		if err := t.decode(s, scores[o*n:(o+1)*n]); err != nil {
			clear(scores)
			return err
		}
	}
	return nil
}

// open writes the polynomial of an answer, its primes spread over the cores.
func (t *Tenant) open(secret ring.Poly, answer, constant []uint32, s *opening) error {
	return workers.Each(t.preset.limbs, func(l int) {
		out := s.poly.Coeffs[l]
		switch t.Kind {
		case Linear:
			t.openLinear(l, secret.Coeffs[l], answer, constant, out)
		case Quadratic:
			t.openQuadratic(l, secret.Coeffs[l], answer, constant, out)
		default:
			t.openPolynomial(l, secret.Coeffs[l], answer, constant, out)
		}
		t.preset.ring.SubRings[l].INTT(out, out)
	})
}

// Close forgets a key that no answer came for.
func (k *BatchKey) Close() {
	k.Lock()
	defer k.Unlock()
	k.erase()
}

func (k *BatchKey) erase() {
	for _, c := range k.secret.Coeffs {
		clear(c)
	}
	k.secret = ring.Poly{}
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

// openLinear writes y0 + s y1 modulo one prime.
func (t *Tenant) openLinear(l int, secret []uint64, answer, constant []uint32, out []uint64) {
	q, mred := t.preset.primes[l], t.preset.ring.SubRings[l].MRedConstant
	for n := range out {
		at := l*t.preset.points + n
		out[n] = uint64(answer[at]) + ring.MRed(uint64(constant[at]), secret[n], q, mred)
		out[n] -= q & -((q - 1 - out[n]) >> 63)
	}
}

// openQuadratic writes four times the squares: with y = x + i x', g = y^2 + conj
// and T = y conj(y), (1 - i) g + 2 (1 + i) T = 4 (x^2 + i x'^2). Conjugation is
// mirroring of points, and turns the secret s into s(1/X), which is s mirrored.
func (t *Tenant) openQuadratic(l int, key []uint64, answer, constant []uint32, out []uint64) {
	points, all := t.preset.points, polynomialWords(t.Kind)
	s1, s2, u, t1 := answer[:all], answer[all:2*all], answer[2*all:3*all], answer[3*all:]
	s3, t3 := constant[:all], constant[all:]
	sub, root := t.preset.ring.SubRings[l], t.preset.root[l]
	q, mred := t.preset.primes[l], sub.MRedConstant
	square := func(p int) uint64 {
		at := l*points + p
		v := ring.MRed(uint64(s3[at]), key[p], q, mred) + 2*uint64(s2[at])
		return uint64(s1[at]) + ring.MRed(v, key[p], q, mred)
	}
	for p := range points / 2 {
		m := points - 1 - p
		at, half := l*points, l*points/2
		v := ring.MRed(uint64(t3[half+p]), key[m], q, mred) + uint64(u[at+m])
		cross := ring.MRed(v, key[p], q, mred) + ring.MRed(uint64(u[at+p]), key[m], q, mred) + uint64(t1[half+p])
		both := square(p) + square(m)
		sum, turned := (both+2*cross)%q, ring.BRed(root[p], (2*cross+4*q-both)%q, q, sub.BRedConstant)
		out[p], out[m] = (sum+turned)%q, (sum+q-turned)%q
	}
}

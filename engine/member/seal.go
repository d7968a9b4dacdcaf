package member

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/packed"
	"fedanomaly/engine/stream"
)

const saltBytes = 32

// SealedBytes is an upper bound of what Seal returns.
func (m *Member) SealedBytes() (int, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.phase == closed {
		return 0, fault.Closed
	}
	return m.stateBytes() + saltBytes + tagBytes, nil
}

// stateBytes is an upper bound of the state: every polynomial there is, a hundred
// bytes for each key, and the heads.
func (m *Member) stateBytes() int {
	n := 4096 + 400*m.members
	for _, r := range m.rings {
		n += (1 + len(r.coeffs) + len(r.shares)) * (r.preset.PolyBytes() + 32)
	}
	return n
}

// Seal returns the whole state, in any phase, under AES-256-GCM. Every blob has a
// key of its own, HKDF(key, salt), so a node may seal as often as it likes: with
// random nonces under one key it would have to count.
func (m *Member) Seal(key stream.Key, context []byte) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.phase == closed {
		return nil, fault.Closed
	}
	state := m.appendState(make([]byte, 0, m.stateBytes()))
	defer clear(state)
	out := make([]byte, saltBytes, saltBytes+len(state)+tagBytes)
	rand.Read(out) // never fails since Go 1.24
	box, err := sealer(key, out)
	if err != nil {
		return nil, err
	}
	return box.Seal(out, make([]byte, box.NonceSize()), state, sealContext(context)), nil
}

// Unseal reads what Seal wrote.
func Unseal(key stream.Key, context, blob []byte) (*Member, error) {
	if len(blob) < saltBytes+tagBytes {
		return nil, fault.Sealed
	}
	box, err := sealer(key, blob[:saltBytes])
	if err != nil {
		return nil, err
	}
	state, err := box.Open(nil, make([]byte, box.NonceSize()), blob[saltBytes:], sealContext(context))
	if err != nil {
		return nil, fault.Sealed
	}
	defer clear(state)
	return readState(state)
}

func sealContext(context []byte) []byte {
	return canonical.Item(canonical.Begin("member state"), "context", context)
}

func sealer(key stream.Key, salt []byte) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, key[:], salt, string(canonical.Begin("member state")), 32)
	if err != nil {
		return nil, fault.Internal
	}
	defer clear(derived)
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fault.Internal
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fault.Internal
	}
	return box, nil
}

func (m *Member) appendState(b []byte) []byte {
	b = append(b, canonical.Begin("member state")...)
	b = canonical.ItemInt(b, "members", uint64(m.members))
	b = canonical.ItemInt(b, "threshold", uint64(m.threshold))
	b = canonical.ItemInt(b, "index", uint64(m.index))
	b = canonical.ItemInt(b, "phase", uint64(m.phase))
	if m.phase == dealing {
		b = m.deals.appendTo(b)
	} else {
		b = m.keys.appendTo(b)
	}
	for _, r := range m.rings {
		if m.phase == dealing {
			b = r.appendPoly(b, r.s)
			for _, c := range r.coeffs {
				b = r.appendPoly(b, c)
			}
		} else {
			b = r.appendPoly(b, r.negS)
		}
		for i := range r.shares {
			if m.phase == ready || m.deals.got[i].known {
				b = r.appendPoly(b, r.shares[i])
			}
		}
	}
	return b
}

func (r *ringSecrets) appendPoly(b []byte, p ring.Poly) []byte {
	packedPoly := r.preset.AppendPoly(nil, p)
	defer clear(packedPoly)
	return canonical.Item(b, "poly", packedPoly)
}

func (d *deals) appendTo(b []byte) []byte {
	b = canonical.Item(b, "hpke", d.hpke[:])
	b = canonical.Item(b, "noise", d.noise[:])
	b = canonical.Item(b, "group", d.own.group[:])
	b = canonical.Item(b, "salt", d.own.salt[:])
	for i, sent := range d.sent {
		b = canonical.Item(b, "sent", sent.pair[:])
		if got := d.got[i]; got.known {
			b = canonical.ItemInt(b, "known", 1)
			b = canonical.Item(b, "pair", got.pair[:])
			b = canonical.Item(b, "part", got.group[:])
			b = canonical.Item(b, "part salt", got.salt[:])
		} else {
			b = canonical.ItemInt(b, "known", 0)
		}
	}
	return b
}

func (k *epochKeys) appendTo(b []byte) []byte {
	b = canonical.Item(b, "epoch", k.epoch[:])
	b = canonical.Item(b, "roster", k.roster[:])
	b = canonical.Item(b, "join", k.join[:])
	b = canonical.Item(b, "e", k.e[:])
	b = canonical.Item(b, "f", k.f[:])
	b = canonical.Item(b, "chain", k.chain[:])
	b = canonical.ItemInt(b, "job", k.job)
	for _, z := range k.zero {
		b = canonical.Item(b, "zero", z[:])
	}
	return b
}

func readKey(r *canonical.Reader, label string) stream.Key { return stream.Key(r.Hash(label)) }

// readState parses a state. It was authenticated, but by whoever holds the key:
// so everything is checked nevertheless, and no half of a member comes out.
func readState(state []byte) (*Member, error) {
	r := canonical.NewReader(state)
	r.Begin("member state")
	m := &Member{members: r.Small("members", packed.MinMembers, packed.MaxMembers)}
	m.threshold = r.Small("threshold", packed.MinThreshold, m.members-1)
	m.index = r.Small("index", 1, m.members)
	m.phase = phase(r.Small("phase", int(dealing), int(ready)))
	if m.phase == dealing {
		m.deals = readDeals(r, m.members)
	} else {
		m.keys = readKeys(r, m.members)
	}
	for _, degree := range packed.Degrees {
		preset, err := packed.PresetOf(degree)
		if err != nil {
			return nil, err
		}
		secrets, err := m.readRing(r, preset)
		if err != nil {
			m.Close()
			return nil, fault.Sealed
		}
		m.rings = append(m.rings, secrets)
	}
	if !r.Done() || m.deals != nil && m.deals.got[m.index-1] != m.deals.own {
		m.Close()
		return nil, fault.Sealed
	}
	return m, nil
}

func readDeals(r *canonical.Reader, members int) *deals {
	d := &deals{hpke: readKey(r, "hpke"), noise: readKey(r, "noise"), sent: make([]half, members), got: make([]half, members)}
	d.own = half{group: readKey(r, "group"), salt: readKey(r, "salt"), known: true}
	for i := range members {
		d.sent[i] = half{pair: readKey(r, "sent"), known: true}
		if r.Small("known", 0, 1) == 1 {
			d.got[i] = half{pair: readKey(r, "pair"), group: readKey(r, "part"), salt: readKey(r, "part salt"), known: true}
		}
	}
	return d
}

func readKeys(r *canonical.Reader, members int) *epochKeys {
	k := &epochKeys{epoch: r.Hash("epoch"), roster: r.Hash("roster"), zero: make([]stream.Key, members)}
	k.join, k.e, k.f, k.chain = readKey(r, "join"), readKey(r, "e"), readKey(r, "f"), readKey(r, "chain")
	k.job = r.Int("job")
	for i := range k.zero {
		k.zero[i] = readKey(r, "zero")
	}
	return k
}

func (m *Member) readRing(r *canonical.Reader, preset *packed.Preset) (*ringSecrets, error) {
	secrets := &ringSecrets{preset: preset, shares: make([]ring.Poly, m.members)}
	var failed error
	read := func() ring.Poly {
		p, err := preset.ReadPoly(r.Item("poly"))
		if err != nil {
			failed = err
		}
		return p
	}
	if m.phase == dealing {
		secrets.s = read()
		for range m.threshold - 1 {
			secrets.coeffs = append(secrets.coeffs, read())
		}
	} else {
		secrets.negS = read()
	}
	for i := range secrets.shares {
		if failed == nil && (m.phase == ready || m.deals.got[i].known) {
			secrets.shares[i] = read()
		}
	}
	return secrets, failed
}

package member

import (
	"crypto/hpke"
	"crypto/sha256"
	"crypto/subtle"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/packed"
	"fedanomaly/engine/stream"

	"github.com/tuneinsight/lattigo/v6/ring"
)

// A deal is what one member sends another at set-up: a key share in both rings,
// half of the seed of the pair, and its part of the group key. It travels in
// HPKE (RFC 9180) with ML-KEM-768 and X25519 together, so that what is recorded
// today stays closed to a quantum computer. HPKE's info binds version, roster,
// sender, receiver and purpose; the sender's signature is outside, in Python.

// half are what one deal brings besides key shares.
type half struct {
	pair, group, salt stream.Key
	known             bool
}

// deals is the state of dealing.
type deals struct {
	hpke stream.Key // the seed of our key pair
	own  half       // group part and its salt
	sent []half     // pair seed for each member, by roster index less 1
	got  []half
	// The noise seed derives the keys of nonces and noise.
	noise stream.Key
}

func drawDeals(members, index int) (*deals, error) {
	d := &deals{
		own:   half{group: stream.Fresh(), salt: stream.Fresh(), known: true},
		noise: stream.Fresh(),
		sent:  make([]half, members),
		got:   make([]half, members),
	}
	for i := range d.sent {
		d.sent[i] = half{pair: stream.Fresh(), known: true}
	}
	d.got[index-1] = d.own
	key, err := kem.GenerateKey()
	if err != nil {
		return nil, fault.Internal
	}
	seed, err := key.Bytes()
	if err != nil || len(seed) != len(d.hpke) {
		return nil, fault.Internal
	}
	copy(d.hpke[:], seed)
	clear(seed)
	return d, nil
}

func (h *half) wipe() { *h = half{} }

func (d *deals) wipe() {
	d.hpke.Wipe()
	d.noise.Wipe()
	d.own.wipe()
	for i := range d.sent {
		d.sent[i].wipe()
		d.got[i].wipe()
	}
}

var (
	kem  = hpke.MLKEM768X25519()
	kdf  = hpke.HKDFSHA256()
	aead = hpke.AES256GCM()
)

// Sizes of RFC 9180 for this suite: public key, encapsulated key, tag.
const (
	publicKeyBytes = 1216
	encBytes       = 1120
	tagBytes       = 16
)

// HelloBytes is the size of a hello.
const HelloBytes = publicKeyBytes + sha256.Size

// commitment binds a member to one part of the group key before it deals, so
// that it cannot give different members different parts unseen.
func commitment(index int, part, salt stream.Key) canonical.Hash {
	b := append(make([]byte, 0, 256), canonical.Begin("group commitment")...)
	b = canonical.ItemInt(b, "member", uint64(index))
	b = canonical.Item(canonical.Item(b, "salt", salt[:]), "part", part[:])
	defer clear(b)
	return sha256.Sum256(b)
}

// Hello is what a member publishes before dealing: HPKE public key, commitment.
func (m *Member) Hello() ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.in(dealing); err != nil {
		return nil, err
	}
	key, err := kem.NewPrivateKey(m.deals.hpke[:])
	if err != nil {
		return nil, fault.Internal
	}
	bound := commitment(m.index, m.deals.own.group, m.deals.own.salt)
	return append(key.PublicKey().Bytes(), bound[:]...), nil
}

// DealBytes is the size of an envelope.
func DealBytes() int { return encBytes + plainDealBytes() + tagBytes }

func plainDealBytes() int {
	n := len(dealHead(1, 1))
	for _, degree := range packed.Degrees {
		preset, err := packed.PresetOf(degree)
		if err != nil {
			return 0
		}
		n += itemBytes("share", preset.PolyBytes())
	}
	return n + itemBytes("pair", 32) + itemBytes("group", 32) + itemBytes("salt", 32)
}

func itemBytes(label string, n int) int { return 1 + len(label) + 4 + n }

func dealHead(from, to int) []byte {
	b := canonical.ItemInt(canonical.Begin("deal"), "from", uint64(from))
	return canonical.ItemInt(b, "to", uint64(to))
}

// Deal returns the envelope for another member, whose hello has its public key.
func (m *Member) Deal(to int, hello, info []byte) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.in(dealing); err != nil {
		return nil, err
	}
	if to < 1 || to > m.members || to == m.index {
		return nil, fault.Argument
	}
	if len(hello) != HelloBytes {
		return nil, fault.Sealed
	}
	key, err := kem.NewPublicKey(hello[:publicKeyBytes])
	if err != nil {
		return nil, fault.Sealed
	}
	plain := append(make([]byte, 0, plainDealBytes()), dealHead(m.index, to)...)
	defer func() { clear(plain) }()
	for _, r := range m.rings {
		share := r.shareFor(to)
		packedShare := r.preset.AppendPoly(nil, share)
		plain = canonical.Item(plain, "share", packedShare)
		clear(packedShare)
		wipePoly(&share)
	}
	plain = canonical.Item(plain, "pair", m.deals.sent[to-1].pair[:])
	plain = canonical.Item(plain, "group", m.deals.own.group[:])
	plain = canonical.Item(plain, "salt", m.deals.own.salt[:])
	enc, sender, err := hpke.NewSender(key, kdf, aead, info)
	if err != nil {
		return nil, fault.Sealed
	}
	body, err := sender.Seal(nil, plain)
	if err != nil {
		return nil, fault.Internal
	}
	return append(enc, body...), nil
}

// Receive opens another member's envelope and keeps what it holds.
func (m *Member) Receive(from int, hello, info, envelope []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.in(dealing); err != nil {
		return err
	}
	if from < 1 || from > m.members || from == m.index {
		return fault.Argument
	}
	if m.deals.got[from-1].known { // one deal for each sender: a second could swap its secret
		return fault.Order
	}
	if len(hello) != HelloBytes || len(envelope) != DealBytes() {
		return fault.Sealed
	}
	plain, err := m.unwrap(info, envelope)
	if err != nil {
		return err
	}
	defer clear(plain)
	shares, got, err := readDeal(plain, from, m.index)
	if err != nil {
		return err
	}
	bound := commitment(from, got.group, got.salt)
	if subtle.ConstantTimeCompare(bound[:], hello[publicKeyBytes:]) != 1 {
		return fault.Sealed
	}
	for i, r := range m.rings {
		r.shares[from-1] = shares[i]
	}
	m.deals.got[from-1] = got
	return nil
}

func (m *Member) unwrap(info, envelope []byte) ([]byte, error) {
	key, err := kem.NewPrivateKey(m.deals.hpke[:])
	if err != nil {
		return nil, fault.Internal
	}
	recipient, err := hpke.NewRecipient(envelope[:encBytes], key, kdf, aead, info)
	if err != nil {
		return nil, fault.Sealed
	}
	plain, err := recipient.Open(nil, envelope[encBytes:])
	if err != nil {
		return nil, fault.Sealed
	}
	return plain, nil
}

// readDeal parses what an envelope held; residues must be below their primes.
func readDeal(plain []byte, from, to int) (shares []ring.Poly, got half, err error) {
	r := canonical.NewReader(plain)
	r.Begin("deal")
	if r.Int("from") != uint64(from) || r.Int("to") != uint64(to) {
		return nil, half{}, fault.Sealed
	}
	for _, degree := range packed.Degrees {
		preset, err := packed.PresetOf(degree)
		if err != nil {
			return nil, half{}, err
		}
		share, err := preset.ReadPoly(r.Item("share"))
		if err != nil {
			return nil, half{}, fault.Sealed
		}
		shares = append(shares, share)
	}
	got = half{pair: stream.Key(r.Hash("pair")), group: stream.Key(r.Hash("group")), salt: stream.Key(r.Hash("salt")), known: true}
	if !r.Done() {
		return nil, half{}, fault.Sealed
	}
	return shares, got, nil
}

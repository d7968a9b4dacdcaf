package member

import (
	"crypto/sha256"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/manifest"
	"fedanomaly/engine/stream"
)

// epochKeys are the keys of every purpose. Each is derived for one purpose and
// this epoch; nothing is used for two.
type epochKeys struct {
	epoch, roster canonical.Hash
	join          stream.Key   // nonces
	e, f          stream.Key   // encryption and smudging noise
	zero          []stream.Key // with each member, by roster index less 1: zero masks
	chain         stream.Key   // group key, ratcheted up to job
	job           uint64
}

func (k *epochKeys) wipe() {
	for _, key := range []*stream.Key{&k.join, &k.e, &k.f, &k.chain} {
		key.Wipe()
	}
	for i := range k.zero {
		k.zero[i].Wipe()
	}
}

// maxJobsAhead bounds the work of reaching a job that somebody names.
const maxJobsAhead = 1 << 20

// Finish derives the keys of every purpose once the epoch id is known, and
// forgets the dealing secrets. The tag is equal at every member that received
// the same parts of the group key.
func (m *Member) Finish(epoch, roster canonical.Hash) (tag [32]byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.in(dealing); err != nil {
		return tag, err
	}
	for _, got := range m.deals.got {
		if !got.known {
			return tag, fault.Order
		}
	}
	k := &epochKeys{epoch: epoch, roster: roster, zero: make([]stream.Key, m.members)}
	// Room for everything at once: a buffer that grows leaves copies of the parts behind.
	group := append(make([]byte, 0, 64+64*m.members), canonical.Begin("group")...)
	defer func() { clear(group) }()
	for i, got := range m.deals.got {
		group = canonical.Item(group, "part", got.group[:])
		if i+1 != m.index {
			k.zero[i] = stream.Derive(pairSecret(m.index, i+1, m.deals.sent[i].pair, got.pair), "zero", epoch)
		}
	}
	k.chain = stream.Derive(sha256.Sum256(group), "group", epoch)
	k.join = stream.Derive(m.deals.noise, "join", epoch)
	k.e = stream.Derive(m.deals.noise, "e", epoch)
	k.f = stream.Derive(m.deals.noise, "f", epoch)
	for _, r := range m.rings {
		r.finish()
	}
	m.deals.wipe()
	m.deals, m.keys, m.phase = nil, k, ready
	confirm := canonical.Item(canonical.Begin("confirm"), "roster", roster[:])
	return stream.MAC(stream.Derive(k.chain, "confirm", epoch), confirm), nil
}

// pairSecret joins the two halves in roster order: equal at both.
func pairSecret(me, other int, mine, theirs stream.Key) stream.Key {
	low, high, a, b := me, other, mine, theirs
	if other < me {
		low, high, a, b = other, me, theirs, mine
	}
	input := append(make([]byte, 0, 256), canonical.Begin("pair")...) // with room, as above
	input = canonical.ItemInt(input, "low", uint64(low))
	input = canonical.ItemInt(input, "high", uint64(high))
	input = canonical.Item(canonical.Item(input, "a", a[:]), "b", b[:])
	defer clear(input)
	return sha256.Sum256(input)
}

// groupKey gives the key of a group purpose (pad, mac, tag) for one job. Jobs
// before the last that was forgotten are gone.
func (k *epochKeys) groupKey(purpose string, job uint64) (stream.Key, error) {
	if job < k.job || job-k.job > maxJobsAhead {
		return stream.Key{}, fault.Refused
	}
	chain := k.chain
	for range job - k.job {
		chain = stream.Derive(chain, "ratchet", k.epoch)
	}
	return stream.Derive(chain, purpose, k.epoch), nil
}

// Forget erases the group keys of all jobs before one.
func (m *Member) Forget(job uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.in(ready); err != nil {
		return err
	}
	if job > m.keys.job && job-m.keys.job > maxJobsAhead {
		return fault.Argument
	}
	for ; m.keys.job < job; m.keys.job++ {
		m.keys.chain = stream.Derive(m.keys.chain, "ratchet", m.keys.epoch)
	}
	return nil
}

// Nonce is the join nonce: it binds what is asked, the data snapshot and the
// frozen values, so that a member recognises a manifest that uses its join for
// something else.
func (m *Member) Nonce(raw []byte, generation uint64, frozen, random canonical.Hash) (out [32]byte, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.in(ready); err != nil {
		return out, err
	}
	ask, err := manifest.ParseAsk(raw)
	if err != nil || !m.owns(&ask) {
		return out, fault.Manifest
	}
	input := append(canonical.Begin("join"), raw...)
	input = canonical.ItemInt(input, "gen", generation)
	input = canonical.Item(canonical.Item(input, "frozen", frozen[:]), "random", random[:])
	return m.mac(m.keys.join, input), nil
}

// Tag is the keyed tag of a state or step. A plain hash would let the coordinator
// test guesses.
func (m *Member) Tag(job uint64, data []byte) (out [32]byte, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.in(ready); err != nil {
		return out, err
	}
	key, err := m.keys.groupKey("tag", job)
	if err != nil {
		return out, err
	}
	return m.mac(key, canonical.Item(canonical.Begin("tag"), "data", data)), nil
}

// owns says whether an ask is of this member's key epoch.
func (m *Member) owns(ask *manifest.Ask) bool {
	return ask.Epoch == m.keys.epoch && ask.Roster == m.keys.roster &&
		ask.Config.Members == m.members && ask.Config.Threshold == m.threshold
}

// parse reads a manifest of this member's key epoch.
func (m *Member) parse(raw []byte) (*manifest.Manifest, error) {
	mf, err := manifest.Parse(raw)
	if err != nil || !m.owns(&mf.Ask) {
		return nil, fault.Manifest
	}
	return mf, nil
}

// mac is every PRF call of this package; tests watch it to see that no input is
// used twice.
func (m *Member) mac(key stream.Key, input []byte) [32]byte {
	if m.observe != nil {
		m.observe(key, input)
	}
	return stream.MAC(key, input)
}

// prf is the stream of PRF(key, input || c || prime).
func (m *Member) prf(key stream.Key, input []byte, ciphertext, prime int) *stream.Stream {
	return stream.New(m.mac(key, stream.At(input, ciphertext, prime)))
}

// of starts a PRF input that belongs to one manifest.
func of(label string, mf *manifest.Manifest) []byte {
	return canonical.Item(canonical.Begin(label), "manifest", mf.Hash[:])
}

// ofSet starts one that belongs to one manifest and one set of contributors.
func ofSet(label string, mf *manifest.Manifest, contributors []int) []byte {
	return canonical.ItemSet(of(label, mf), "U", contributors)
}

// Package manifest reads the manifest of a round from the very bytes that are
// hashed. `fedanomaly.fhe.manifest` is its Python twin: both accept the same
// bytes (engine/testdata). A manifest is never written again before it is hashed.
package manifest

import (
	"crypto/sha256"
	"slices"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/packed"
)

// The kinds of a round. A test sums constant zeros, never frozen data.
const (
	KindSum  = "sum"
	KindTest = "test"
)

const (
	maxEntries          = 1 << 32
	maxCertificateBytes = 64 * 1024
	signatureBytes      = 64
)

// Ask is what a member is asked to join.
type Ask struct {
	Kind                      string
	Config                    packed.Config
	Entries                   int
	Epoch, Roster, Policy     canonical.Hash
	Job, Round, Step          uint64
	Schema, StepTag, StateTag canonical.Hash
}

// Join is what a member posted; its signature is checked by the protocol, which
// knows the roster's keys.
type Join struct {
	Member     int
	Generation uint64
	Nonce      canonical.Hash
	Signature  [signatureBytes]byte
}

// Manifest names one sum completely.
type Manifest struct {
	Ask
	Ciphertexts int
	Previous    canonical.Hash
	Certificate []byte
	Fixed       []int // F
	Joins       []Join
	Decryptors  []int // D
	Hash        canonical.Hash
	Layout      packed.Layout
}

// LeastContributors is the size of the smallest set whose sum may be opened.
func LeastContributors(threshold int) int { return max(3, threshold+1) }

// ParseAsk reads the items of an ask alone.
func ParseAsk(raw []byte) (Ask, error) {
	r := canonical.NewReader(raw)
	ask, ok := readAsk(r)
	if !ok || !r.Done() {
		return Ask{}, fault.Manifest
	}
	return ask, nil
}

func readAsk(r *canonical.Reader) (ask Ask, ok bool) {
	ask.Kind = string(r.Item("kind"))
	degree := r.Int("preset")
	preset, err := packed.PresetOf(int(min(degree, 1<<30)))
	if err != nil || ask.Kind != KindSum && ask.Kind != KindTest {
		return ask, false
	}
	members := r.Small("members", packed.MinMembers, packed.MaxMembers)
	threshold := r.Small("threshold", packed.MinThreshold, members-1)
	bits := r.Small("field_bits", 0, preset.MaxFieldBits)
	ask.Config = packed.Config{Degree: preset.N, Members: members, Threshold: threshold, FieldBits: bits}
	ask.Entries = r.Small("fields", 1, maxEntries)
	ask.Epoch, ask.Roster, ask.Policy = r.Hash("epoch"), r.Hash("roster"), r.Hash("policy")
	ask.Job, ask.Round, ask.Step = r.Int("job"), r.Int("round"), r.Int("step")
	ask.Schema, ask.StepTag, ask.StateTag = r.Hash("schema"), r.Hash("step_tag"), r.Hash("state_tag")
	return ask, true
}

// Parse reads a manifest and checks everything that its bytes alone can tell.
func Parse(raw []byte) (*Manifest, error) {
	r := canonical.NewReader(raw)
	r.Begin("manifest")
	ask, ok := readAsk(r)
	if !ok {
		return nil, fault.Manifest
	}
	m := &Manifest{Ask: ask, Hash: sha256.Sum256(raw)}
	m.Ciphertexts = r.Small("ciphertexts", 1, maxEntries)
	m.Previous, m.Certificate = r.Hash("previous"), r.Item("certificate")
	m.Fixed = r.Set("F", ask.Config.Members)
	joins := canonical.NewReader(r.Item("J"))
	for joins.More() {
		m.Joins = append(m.Joins, Join{
			Member:     joins.Small("member", 1, ask.Config.Members),
			Generation: joins.Int("gen"),
			Nonce:      joins.Hash("nonce"),
			Signature:  [signatureBytes]byte(joins.Exact("signature", signatureBytes)),
		})
	}
	m.Decryptors = r.Set("D", ask.Config.Members)
	if !r.Done() || !joins.Done() || !m.consistent() {
		return nil, fault.Manifest
	}
	return m, nil
}

func (m *Manifest) consistent() bool {
	params, err := packed.For(m.Config)
	if err != nil {
		return false
	}
	if m.Layout, err = params.Layout(m.Entries); err != nil || m.Ciphertexts != m.Layout.Ciphertexts {
		return false
	}
	joined, least := m.Joined(), LeastContributors(m.Config.Threshold)
	first := m.Previous == canonical.Hash{}
	switch {
	case len(m.Certificate) > maxCertificateBytes || first != (len(m.Certificate) == 0):
		return false
	case !canonical.Increasing(joined, m.Config.Members) || len(joined) < least:
		return false
	case len(m.Decryptors) != min(len(joined), m.Config.Threshold+2) || !within(m.Decryptors, joined):
		return false
	}
	return len(m.Fixed) == 0 || len(m.Fixed) >= least && within(m.Fixed, joined)
}

// Joined gives the roster indices of who joined (J).
func (m *Manifest) Joined() []int {
	out := make([]int, len(m.Joins))
	for i, join := range m.Joins {
		out[i] = join.Member
	}
	return out
}

// MayContribute says whether a member's contribution can be in an opened sum.
func (m *Manifest) MayContribute(member int) bool {
	return slices.Contains(m.Joined(), member) && (len(m.Fixed) == 0 || slices.Contains(m.Fixed, member))
}

// MayOpen says whether exactly this set of contributors may be opened.
func (m *Manifest) MayOpen(set []int) bool {
	least := LeastContributors(m.Config.Threshold)
	if m.Kind == KindTest {
		least = 1
	}
	return canonical.Increasing(set, m.Config.Members) && len(set) >= least && within(set, m.Joined()) &&
		(len(m.Fixed) == 0 || slices.Equal(set, m.Fixed))
}

func within(set, of []int) bool {
	for _, x := range set {
		if !slices.Contains(of, x) {
			return false
		}
	}
	return true
}

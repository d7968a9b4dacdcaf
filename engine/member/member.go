// Package member holds one member's secrets of one key epoch and everything that
// is computed with them: dealing, join nonces, tags, contributions, decryption
// shares, opening.
package member

import (
	"sync"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/packed"
	"fedanomaly/engine/stream"
)

type phase uint64

const (
	dealing phase = iota // deals go out and come in
	ready                // keys are derived, dealing secrets are gone
	closed
)

// Member is one member's secrets. Safe for concurrent use.
type Member struct {
	mu                        sync.RWMutex
	members, threshold, index int
	phase                     phase
	rings                     []*ringSecrets // one for each preset
	deals                     *deals         // while dealing
	keys                      *epochKeys     // when ready
	observe                   func(key stream.Key, input []byte)
}

// ringSecrets are the secrets in one ring. Polynomials are in NTT and Montgomery
// form, so that a product with a public polynomial in NTT form is one pass.
type ringSecrets struct {
	preset *packed.Preset
	s      ring.Poly   // while dealing
	coeffs []ring.Poly // Shamir coefficients 1 .. t - 1, while dealing
	negS   ring.Poly   // -s, when ready
	shares []ring.Poly // by roster index less 1: key shares that we hold
}

// New draws a member's secrets. The roster index is its Shamir point, so it
// starts at 1: point 0 would be the secret itself.
func New(members, threshold, index int) (*Member, error) {
	if members < packed.MinMembers || members > packed.MaxMembers || threshold < packed.MinThreshold ||
		threshold >= members || index < 1 || index > members {
		return nil, fault.Parameters
	}
	m := &Member{members: members, threshold: threshold, index: index}
	for _, degree := range packed.Degrees {
		preset, err := packed.PresetOf(degree)
		if err != nil {
			return nil, err
		}
		secrets := drawRing(preset, threshold)
		secrets.shares = make([]ring.Poly, members)
		secrets.shares[index-1] = secrets.shareFor(index)
		m.rings = append(m.rings, secrets)
	}
	var err error
	if m.deals, err = drawDeals(members, index); err != nil {
		return nil, err
	}
	return m, nil
}

// Close zeroes the secrets; closing twice does nothing.
func (m *Member) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rings {
		r.forgetDealing()
		wipePoly(&r.negS)
		for i := range r.shares {
			wipePoly(&r.shares[i])
		}
	}
	if m.deals != nil {
		m.deals.wipe()
	}
	if m.keys != nil {
		m.keys.wipe()
	}
	m.rings, m.deals, m.keys, m.phase = nil, nil, nil, closed
}

// in says whether a call fits the phase.
func (m *Member) in(want phase) error {
	switch m.phase {
	case want:
		return nil
	case closed:
		return fault.Closed
	}
	return fault.Order
}

// ringOf gives the secrets in the ring of a degree that a manifest named.
func (m *Member) ringOf(degree int) *ringSecrets {
	for _, r := range m.rings {
		if r.preset.N == degree {
			return r
		}
	}
	return nil
}

// Facts are what is public about a member.
type Facts struct {
	Members, Threshold, Index int
	Ready                     bool
	Epoch, Roster             canonical.Hash
}

// Facts returns what is public.
func (m *Member) Facts() (Facts, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.phase == closed {
		return Facts{}, fault.Closed
	}
	f := Facts{Members: m.members, Threshold: m.threshold, Index: m.index, Ready: m.phase == ready}
	if f.Ready {
		f.Epoch, f.Roster = m.keys.epoch, m.keys.roster
	}
	return f, nil
}

func wipePoly(p *ring.Poly) {
	for _, row := range p.Coeffs {
		clear(row)
	}
	*p = ring.Poly{}
}

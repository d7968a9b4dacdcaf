package member

import (
	"slices"
	"sync/atomic"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/manifest"
	"fedanomaly/engine/packed"
	"fedanomaly/engine/stream"
	"fedanomaly/engine/workers"
)

// noiseOf gives the noise of ciphertext c.
type noiseOf func(c int, e []int64, tmp []uint64)

// Contribution writes c_i = -a s_i + Encode(v, chi) + e for every ciphertext. The
// caller has recorded durably before that it contributes under this manifest.
func (m *Member) Contribution(raw []byte, values []uint64, out []byte) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.in(ready); err != nil {
		return err
	}
	mf, err := m.parse(raw)
	if err != nil {
		return err
	}
	if !mf.MayContribute(m.index) {
		return fault.Refused
	}
	if len(out) != mf.Layout.Bytes() {
		return fault.Buffer
	}
	if len(values) != mf.Entries {
		return fault.Value
	}
	if mf.Kind == manifest.KindTest { // never frozen data, whatever the caller passes
		values = make([]uint64, mf.Entries)
	}
	if err := inRange(mf.Layout, values); err != nil {
		return err
	}
	input := of("e", mf)
	return m.contribution(mf, values, out, func(c int, e []int64, _ []uint64) {
		m.prf(m.keys.e, input, c, 0).CentredBinomial(e)
	})
}

func inRange(l packed.Layout, values []uint64) error {
	var wide atomic.Bool
	err := workers.Each(l.Ciphertexts, func(c int) {
		low, high := l.Range(c)
		var all uint64
		for _, v := range values[low:high] {
			all |= v
		}
		if all>>l.ValueBits != 0 {
			wide.Store(true)
		}
	})
	if err == nil && wide.Load() {
		return fault.Value
	}
	return err
}

func (m *Member) contribution(mf *manifest.Manifest, values []uint64, out []byte, noise noiseOf) error {
	chi, err := m.chi(mf, values)
	if err != nil {
		return err
	}
	l, secrets := mf.Layout, m.ringOf(mf.Config.Degree)
	return workers.Each(l.Ciphertexts, func(c int) {
		s := l.Borrow()
		defer l.Return(s)
		timesPublic(mf.Hash, c, secrets.negS, l, s)
		l.Encode(s, c, values, chi)
		addNoise(l, s, c, noise)
		l.Drop(s.X, l.Used(c))
		l.Pack(out, c, s.X)
	})
}

// chi is the linear MAC of a vector under the group's key.
func (m *Member) chi(mf *manifest.Manifest, values []uint64) ([]uint64, error) {
	key, err := m.keys.groupKey("mac", mf.Job)
	if err != nil {
		return nil, err
	}
	input := of("mac", mf)
	return mf.Layout.Chi(values, func(c, coefficient int) *stream.Stream { return m.prf(key, input, c, coefficient) })
}

// timesPublic sets s.X to a_c times a key, in the coefficient domain. a_c is
// uniform, so it is drawn in the NTT domain right away.
func timesPublic(hash canonical.Hash, c int, key ring.Poly, l packed.Layout, s *packed.Scratch) {
	for j, q := range l.Primes {
		stream.Public(hash, c, j).Uniform(s.X.Coeffs[j], q)
	}
	l.Ring.MulCoeffsMontgomery(s.X, key, s.X)
	l.Ring.INTT(s.X, s.X)
}

func addNoise(l packed.Layout, s *packed.Scratch, c int, noise noiseOf) {
	e := s.Small[:l.Used(c)]
	noise(c, e, s.Tmp)
	l.AddSmall(s.X, e)
}

// Share writes the decryption share for exactly this set of contributors:
//
//	d_j = a lambda_j sigma_{U,j} + f + z (+ P at the lowest index of D)
//
// The caller has recorded its statement durably before. f and z are functions of
// manifest and U, so that a repeated request gives the same bytes: two different
// shares for one a would tell their difference.
func (m *Member) Share(raw []byte, contributors []int, out []byte) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.in(ready); err != nil {
		return err
	}
	mf, err := m.parse(raw)
	if err != nil {
		return err
	}
	if !slices.Contains(mf.Decryptors, m.index) || !mf.MayOpen(contributors) {
		return fault.Refused
	}
	if len(out) != mf.Layout.Bytes() {
		return fault.Buffer
	}
	input, bound := ofSet("f", mf, contributors), mf.Layout.SmudgingBound
	return m.share(mf, contributors, out, func(c int, f []int64, tmp []uint64) {
		m.prf(m.keys.f, input, c, 0).Smudging(f, bound, tmp)
	})
}

func (m *Member) share(mf *manifest.Manifest, contributors []int, out []byte, noise noiseOf) error {
	pad, err := m.keys.groupKey("pad", mf.Job)
	if err != nil {
		return err
	}
	l, secrets := mf.Layout, m.ringOf(mf.Config.Degree)
	key := secrets.openingKey(mf.Decryptors, contributors, m.index)
	defer wipePoly(&key)
	zeroInput, padInput := ofSet("zero", mf, contributors), ofSet("pad", mf, contributors)
	return workers.Each(l.Ciphertexts, func(c int) {
		s := l.Borrow()
		defer l.Return(s)
		timesPublic(mf.Hash, c, key, l, s)
		addNoise(l, s, c, noise)
		for _, k := range mf.Decryptors { // z: sgn(k - j), so that it cancels over all of D
			if k != m.index {
				m.addMask(l, s, m.keys.zero[k-1], zeroInput, c, k < m.index)
			}
		}
		if m.index == mf.Decryptors[0] {
			m.addMask(l, s, pad, padInput, c, false)
		}
		l.Drop(s.X, l.Used(c))
		l.Pack(out, c, s.X)
	})
}

// addMask adds or subtracts a polynomial that is uniform mod Q.
func (m *Member) addMask(l packed.Layout, s *packed.Scratch, key stream.Key, input []byte, c int, subtract bool) {
	for j, q := range l.Primes {
		m.prf(key, input, c, j).AddUniform(s.X.Coeffs[j][:l.Used(c)], q, subtract, s.Tmp)
	}
}

package member

import (
	"crypto/subtle"
	"encoding/binary"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/manifest"
	"fedanomaly/engine/packed"
	"fedanomaly/engine/workers"
)

// Open removes the group's mask from a masked sum and decodes it. Whatever is
// wrong with manifest, set or sum, the answer is Rejected and out is zero: more
// than one answer would be an oracle.
func (m *Member) Open(raw []byte, contributors []int, sum []byte, out []uint64) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	clear(out)
	if err := m.in(ready); err != nil {
		return err
	}
	mf, err := m.parse(raw)
	if err != nil || !mf.MayOpen(contributors) || mf.Layout.Check(sum) != nil {
		return fault.Rejected
	}
	if len(out) != mf.Entries {
		return fault.Buffer
	}
	verdict, chi, err := m.decode(mf, contributors, sum, out)
	if err == nil {
		var want []uint64
		if want, err = m.chi(mf, out); err == nil && judge(mf.Layout, verdict, len(contributors), out, chi, want) {
			return nil
		}
	}
	clear(out)
	return fault.Rejected
}

// decode decodes everything before anything is judged.
func (m *Member) decode(mf *manifest.Manifest, contributors []int, sum []byte, out []uint64) (
	verdict packed.Verdict, chi []uint64, err error) {
	pad, err := m.keys.groupKey("pad", mf.Job)
	if err != nil {
		return verdict, nil, err
	}
	l, input := mf.Layout, ofSet("pad", mf, contributors)
	verdicts := make([]packed.Verdict, l.Ciphertexts)
	chi = make([]uint64, len(l.MACPrimes)) // each is written by one ciphertext
	err = workers.Each(l.Ciphertexts, func(c int) {
		s := l.Borrow()
		defer l.Return(s)
		m.addMask(l, s, pad, input, c, false)
		l.Drop(s.X, l.Used(c)) // rounded as the masked share was; what differs is within the budget
		l.NegateWire(s.X, l.Used(c))
		l.AddTo(s.X, sum, c)
		verdicts[c] = l.Decode(s.X, c, out, chi)
	})
	for _, v := range verdicts {
		verdict.Merge(v)
	}
	return verdict, chi, err
}

// judge looks at everything at once.
func judge(l packed.Layout, verdict packed.Verdict, contributors int, out, chi, want []uint64) bool {
	most := uint64(contributors) * (1<<l.ValueBits - 1)
	var over uint64
	for _, v := range out {
		over |= (most - v) >> 63
	}
	same := subtle.ConstantTimeCompare(words(chi), words(want))
	return !verdict.Bad && over == 0 && same == 1
}

func words(in []uint64) (out []byte) {
	for _, v := range in {
		out = binary.LittleEndian.AppendUint64(out, v)
	}
	return
}

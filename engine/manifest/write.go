package manifest

import "fedanomaly/engine/canonical"

// AppendTo appends the items of an ask.
func (a *Ask) AppendTo(b []byte) []byte {
	b = canonical.Item(b, "kind", []byte(a.Kind))
	b = canonical.ItemInt(b, "preset", uint64(a.Config.Degree))
	b = canonical.ItemInt(b, "members", uint64(a.Config.Members))
	b = canonical.ItemInt(b, "threshold", uint64(a.Config.Threshold))
	b = canonical.ItemInt(b, "field_bits", uint64(a.Config.FieldBits))
	b = canonical.ItemInt(b, "fields", uint64(a.Entries))
	b = canonical.Item(b, "epoch", a.Epoch[:])
	b = canonical.Item(b, "roster", a.Roster[:])
	b = canonical.Item(b, "policy", a.Policy[:])
	b = canonical.ItemInt(b, "job", a.Job)
	b = canonical.ItemInt(b, "round", a.Round)
	b = canonical.ItemInt(b, "step", a.Step)
	b = canonical.Item(b, "schema", a.Schema[:])
	b = canonical.Item(b, "step_tag", a.StepTag[:])
	return canonical.Item(b, "state_tag", a.StateTag[:])
}

// Bytes writes a manifest. Coordinators write theirs in Python; here it serves
// to check that whatever parses is canonical.
func (m *Manifest) Bytes() []byte {
	b := m.Ask.AppendTo(canonical.Begin("manifest"))
	b = canonical.ItemInt(b, "ciphertexts", uint64(m.Ciphertexts))
	b = canonical.Item(b, "previous", m.Previous[:])
	b = canonical.Item(b, "certificate", m.Certificate)
	b = canonical.ItemSet(b, "F", m.Fixed)
	var joins []byte
	for _, join := range m.Joins {
		joins = canonical.ItemInt(joins, "member", uint64(join.Member))
		joins = canonical.ItemInt(joins, "gen", join.Generation)
		joins = canonical.Item(joins, "nonce", join.Nonce[:])
		joins = canonical.Item(joins, "signature", join.Signature[:])
	}
	b = canonical.Item(b, "J", joins)
	return canonical.ItemSet(b, "D", m.Decryptors)
}

package packed

import "fedanomaly/engine/fault"

// QuotaCoefficients is how many coefficients a key epoch may open (the smudging
// argument counts them). A step that alone has more can never run; refusing it
// here also bounds the memory that a manifest can ask for.
const QuotaCoefficients = 1 << 27

// Layout says how the entries of one step lie in ciphertexts. The MAC
// coefficients follow the data. Only the coefficients in use travel.
type Layout struct {
	*Params
	Entries      int // of the step
	Data         int // coefficients that hold them
	Coefficients int // with the MAC
	Ciphertexts  int
	Words        int // residues on the wire
}

// Layout of a vector of so many entries.
func (p *Params) Layout(entries int) (Layout, error) {
	if entries < 1 {
		return Layout{}, fault.Argument
	}
	l := Layout{Params: p, Entries: entries, Data: (entries-1)/p.Fields + 1}
	if l.Data > QuotaCoefficients-len(p.macs) { // before anything is added: 2^63 - 1 entries must not wrap
		return Layout{}, fault.Capacity
	}
	l.Coefficients = l.Data + len(p.macs)
	l.Ciphertexts = (l.Coefficients-1)/p.N + 1
	l.Words = l.Coefficients * len(p.WirePrimes())
	return l, nil
}

// Used is the number of coefficients of ciphertext c that travel.
func (l Layout) Used(c int) int { return min(l.N, l.Coefficients-c*l.N) }

// Range gives the entries in ciphertext c.
func (l Layout) Range(c int) (low, high int) {
	full := l.N * l.Fields
	return min(c*full, l.Entries), min((c+1)*full, l.Entries)
}

// macAt gives ciphertext and coefficient of MAC coefficient i.
func (l Layout) macAt(i int) (ciphertext, coefficient int) {
	return (l.Data + i) / l.N, (l.Data + i) % l.N
}

// Package canonical is the one injective encoding of everything that is hashed,
// signed or fed to a PRF; `fedanomaly.types.canonical` is its Python twin.
//
// An item is u8 len(label) || label || u32le len(value) || value. Two different
// sequences of items never give the same bytes, so a hash over them means one
// thing only.
package canonical

import "encoding/binary"

// Version starts every input.
const Version = "fedanomaly/1"

// Hash is a SHA-256 value or another public name of 32 bytes.
type Hash [32]byte

// Item appends one labelled, length-prefixed item.
func Item(b []byte, label string, value []byte) []byte {
	b = append(append(b, byte(len(label))), label...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

// ItemInt appends an integer of eight bytes.
func ItemInt(b []byte, label string, value uint64) []byte {
	return Item(b, label, binary.LittleEndian.AppendUint64(nil, value))
}

// ItemSet appends a set of roster indices, two bytes each.
func ItemSet(b []byte, label string, set []int) []byte {
	v := make([]byte, 0, 2*len(set))
	for _, x := range set {
		v = binary.LittleEndian.AppendUint16(v, uint16(x))
	}
	return Item(b, label, v)
}

// Begin starts an input: version and purpose come first everywhere.
func Begin(label string) []byte {
	return Item(Item(nil, "version", []byte(Version)), "label", []byte(label))
}

// Reader takes labelled items off, in order. It accepts exactly what Item
// writes; after the first surprise it has failed for good and returns zeros.
type Reader struct {
	rest   []byte
	failed bool
}

// NewReader reads data.
func NewReader(data []byte) *Reader { return &Reader{rest: data} }

// Item returns the value of the next item, which must carry label.
func (r *Reader) Item(label string) []byte {
	head := 1 + len(label) + 4
	if r.failed || len(r.rest) < head || int(r.rest[0]) != len(label) || string(r.rest[1:1+len(label)]) != label {
		r.failed = true
		return nil
	}
	length := uint64(binary.LittleEndian.Uint32(r.rest[head-4:]))
	if length > uint64(len(r.rest)-head) {
		r.failed = true
		return nil
	}
	end := head + int(length)
	value := r.rest[head:end:end]
	r.rest = r.rest[end:]
	return value
}

// Exact returns the value of the next item, which must have n bytes; on failure
// it returns n zeros, so that callers need one check at the end.
func (r *Reader) Exact(label string, n int) []byte {
	value := r.Item(label)
	if len(value) != n {
		r.failed = true
		return make([]byte, n)
	}
	return value
}

// Hash returns a value of 32 bytes.
func (r *Reader) Hash(label string) Hash { return Hash(r.Exact(label, len(Hash{}))) }

// Int returns an integer of eight bytes.
func (r *Reader) Int(label string) uint64 { return binary.LittleEndian.Uint64(r.Exact(label, 8)) }

// Small returns an integer in low .. high; anything else fails.
func (r *Reader) Small(label string, low, high int) int {
	value := r.Int(label)
	if value < uint64(low) || value > uint64(high) {
		r.failed = true
		return low
	}
	return int(value)
}

// Set returns strictly increasing roster indices 1 .. members.
func (r *Reader) Set(label string, members int) []int {
	value := r.Item(label)
	r.failed = r.failed || len(value)%2 != 0
	set := make([]int, 0, len(value)/2)
	for ; len(value) >= 2; value = value[2:] {
		set = append(set, int(binary.LittleEndian.Uint16(value)))
	}
	if !Increasing(set, members) {
		r.failed = true
		return nil
	}
	return set
}

// Begin reads version and label.
func (r *Reader) Begin(label string) {
	if string(r.Item("version")) != Version || string(r.Item("label")) != label {
		r.failed = true
	}
}

// More says whether bytes are left.
func (r *Reader) More() bool { return !r.failed && len(r.rest) > 0 }

// Done says whether every byte was read and nothing was unexpected.
func (r *Reader) Done() bool { return !r.failed && len(r.rest) == 0 }

// Increasing says whether a set is strictly increasing within 1 .. members.
func Increasing(set []int, members int) bool {
	for i, x := range set {
		if x < 1 || x > members || i > 0 && x <= set[i-1] {
			return false
		}
	}
	return true
}

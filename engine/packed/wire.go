package packed

import (
	"encoding/binary"
	"math/bits"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/workers"
)

// On the wire every residue takes the bits of its prime, little-endian; each run
// of residues of one prime starts on a byte and ends with zero bits. Ciphertext
// follows ciphertext, in each prime follows prime.

// run is one run of residues of one prime.
type run struct{ prime, word, byte, count, width int }

func packedLen(count, width int) int { return (count*width + 7) / 8 }

// Window is a run of whole ciphertexts of a message: as much of it as is held
// in memory at a time.
type Window struct {
	layout       Layout
	first, count int
}

// Window of count ciphertexts, from the one with the number first.
func (l Layout) Window(first, count int) (Window, error) {
	if first < 0 || count < 1 || count > l.Ciphertexts || first > l.Ciphertexts-count {
		return Window{}, fault.Argument
	}
	return Window{l, first, count}, nil
}

// Whole is the window over a whole message.
func (l Layout) Whole() Window { return Window{l, 0, l.Ciphertexts} }

func (w Window) runs() []run {
	l := w.layout
	out := make([]run, 0, w.count*len(l.WirePrimes()))
	word, at := 0, 0
	for c := range w.count {
		used := l.Used(w.first + c)
		for j, q := range l.WirePrimes() {
			width := bits.Len64(q)
			out = append(out, run{j, word, at, used, width})
			word += used
			at += packedLen(used, width)
		}
	}
	return out
}

// Bytes is the size of a message.
func (l Layout) Bytes() int { return l.Whole().Bytes() }

// Bytes is the size of the window's part of a message.
func (w Window) Bytes() int {
	l, last := w.layout, w.count-1
	return last*l.CiphertextBytes() + l.ciphertextBytes(l.Used(w.first+last))
}

// CiphertextBytes is the size of a ciphertext all of whose coefficients travel:
// every one but the last.
func (l Layout) CiphertextBytes() int { return l.ciphertextBytes(l.N) }

func (l Layout) ciphertextBytes(used int) (n int) {
	for _, q := range l.WirePrimes() {
		n += packedLen(used, bits.Len64(q))
	}
	return
}

// Pack writes the residues of ciphertext c into its part of a message.
func (l Layout) Pack(message []byte, c int, x ring.Poly) {
	used, at := l.Used(c), c*l.CiphertextBytes()
	for j, q := range l.WirePrimes() {
		width := bits.Len64(q)
		pack(message[at:], x.Coeffs[j][:used], width)
		at += packedLen(used, width)
	}
}

// Check says whether bytes are a message: the size, every residue below its
// prime, zero bits at the end of a run.
func (l Layout) Check(message []byte) error { return l.Whole().Check(message) }

// Check says the same of the window's part of a message.
func (w Window) Check(part []byte) error {
	if len(part) != w.Bytes() {
		return fault.Message
	}
	runs := w.runs()
	good := make([]bool, len(runs))
	err := workers.Each(len(runs), func(i int) {
		r := runs[i]
		good[i] = eachPacked(part[r.byte:], r.count, r.width, w.layout.Primes[r.prime], func(int, uint64) {})
	})
	return verdictOf(good, err)
}

func verdictOf(good []bool, err error) error {
	if err != nil {
		return err
	}
	for _, ok := range good {
		if !ok {
			return fault.Message
		}
	}
	return nil
}

// PolyBytes is the size of a whole polynomial mod all primes: a key share.
func (p *Preset) PolyBytes() (n int) {
	for _, q := range p.Primes {
		n += packedLen(p.N, bits.Len64(q))
	}
	return
}

// AppendPoly appends a whole polynomial.
func (p *Preset) AppendPoly(b []byte, x ring.Poly) []byte {
	for j, q := range p.Primes {
		width := bits.Len64(q)
		start := len(b)
		b = append(b, make([]byte, packedLen(p.N, width))...)
		pack(b[start:], x.Coeffs[j], width)
	}
	return b
}

// ReadPoly reads what AppendPoly wrote; a residue out of range is an error.
func (p *Preset) ReadPoly(b []byte) (ring.Poly, error) {
	x := p.Ring.NewPoly()
	if len(b) != p.PolyBytes() {
		return x, fault.Message
	}
	for j, q := range p.Primes {
		row, width := x.Coeffs[j], bits.Len64(q)
		if !eachPacked(b, p.N, width, q, func(i int, v uint64) { row[i] = v }) {
			x.Zero()
			return x, fault.Message
		}
		b = b[packedLen(p.N, width):]
	}
	return x, nil
}

func pack(dst []byte, src []uint64, width int) {
	var word uint64
	n, k, b := uint(0), 0, uint(width)
	for _, v := range src {
		word |= v << n
		if n += b; n >= 64 {
			binary.LittleEndian.PutUint64(dst[k:], word)
			k += 8
			n -= 64
			word = v >> (b - n)
		}
	}
	for ; n > 0; n -= min(n, 8) {
		dst[k] = byte(word)
		word >>= 8
		k++
	}
}

// eachPacked hands out the residues of a run and says whether all were below q
// and the padding was zero. Widths up to 57, and 60, never span more than eight
// bytes, whatever bit they start at.
func eachPacked(src []byte, count, width int, q uint64, take func(i int, v uint64)) bool {
	mask := uint64(1)<<width - 1
	end := packedLen(count, width)
	var tail [16]byte // the last bytes, with zeros behind them
	tailAt := max(0, end-8)
	copy(tail[:], src[tailAt:end])
	var bad uint64
	for i := range count {
		at := i * width
		var w uint64
		if at>>3+8 <= end {
			w = binary.LittleEndian.Uint64(src[at>>3:])
		} else {
			w = binary.LittleEndian.Uint64(tail[at>>3-tailAt:])
		}
		v := w >> (at & 7) & mask
		bad |= q - 1 - v
		take(i, v)
	}
	if rest := count * width & 7; rest != 0 && src[end-1]>>rest != 0 {
		return false
	}
	return bad>>63 == 0
}

// addPacked is eachPacked for the addition of messages, written out because a
// call for every residue costs three times as much. subtract takes back what
// was added.
func addPacked(sum []uint64, src []byte, width int, q uint64, subtract bool) bool {
	mask := uint64(1)<<width - 1
	end := packedLen(len(sum), width)
	var tail [16]byte
	tailAt := max(0, end-8)
	copy(tail[:], src[tailAt:end])
	var bad uint64
	for i := range sum {
		at := i * width
		var w uint64
		if at>>3+8 <= end {
			w = binary.LittleEndian.Uint64(src[at>>3:])
		} else {
			w = binary.LittleEndian.Uint64(tail[at>>3-tailAt:])
		}
		v := w >> (at & 7) & mask
		bad |= q - 1 - v
		if subtract {
			v = -v
		}
		sum[i] += v
	}
	if rest := len(sum) * width & 7; rest != 0 && src[end-1]>>rest != 0 {
		return false
	}
	return bad>>63 == 0
}

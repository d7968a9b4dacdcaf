package stream

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math/bits"
	"unsafe"

	"fedanomaly/engine/residue"
)

// Stream is an AES-256-CTR key stream, read as little-endian 64-bit words. The
// IV is zero, which is safe because every key is used for one stream only.
// AES-256 also where the key is public: the a_c of two manifests must not
// collide, and 128 bits would let someone search for two that do.
type Stream struct {
	ctr cipher.Stream
	at  int
	buf [4096]byte
}

var zeros [4096]byte

// New starts the stream of a key.
func New(key Key) *Stream {
	s := new(Stream)
	s.Restart(key)
	return s
}

// Restart starts the stream of another key, in the memory of this one.
func (s *Stream) Restart(key Key) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // only for another key size
	}
	s.ctr, s.at = cipher.NewCTR(block, zeros[:aes.BlockSize]), len(s.buf)
}

// Wipe forgets what comes next. Only Restart may follow.
func (s *Stream) Wipe() {
	clear(s.buf[:])
	s.ctr, s.at = nil, len(s.buf)
}

// Key returns the next four words as the key of another stream.
func (s *Stream) Key() (key Key) {
	for i := 0; i < len(key); i += 8 {
		binary.LittleEndian.PutUint64(key[i:], s.Word())
	}
	return
}

func (s *Stream) refill() {
	s.ctr.XORKeyStream(s.buf[:], zeros[:])
	s.at = 0
}

// Word returns the next word.
func (s *Stream) Word() uint64 {
	if s.at == len(s.buf) {
		s.refill()
	}
	v := binary.LittleEndian.Uint64(s.buf[s.at:])
	s.at += 8
	return v
}

// little tells whether words lie in memory as they are read from the stream.
var little = binary.NativeEndian.Uint64([]byte{1, 7: 0}) == 1

// Words fills out: where a whole buffer would be copied, without it.
func (s *Stream) Words(out []uint64) {
	for len(out) > 0 {
		if s.at == len(s.buf) {
			if few := len(s.buf) / 8; little && len(out) >= few {
				s.ctr.XORKeyStream(unsafe.Slice((*byte)(unsafe.Pointer(&out[0])), len(s.buf)), zeros[:])
				out = out[few:]
				continue
			}
			s.refill()
		}
		b := s.buf[s.at:]
		n := min(len(b)/8, len(out))
		for i := range out[:n] {
			out[i] = binary.LittleEndian.Uint64(b[8*i : 8*i+8])
		}
		s.at += 8 * n
		out = out[n:]
	}
}

// Uniform fills out with integers below q. Each candidate is the next word cut
// to the bits of q - 1; those not below q are skipped. Taking words mod q
// instead would be biased.
//
// For an NTT prime just below a power of two a rejection hardly ever happens,
// so the straight loop comes first; it is redone only where one does.
func (s *Stream) Uniform(out []uint64, q uint64) {
	mask := uint64(1)<<bits.Len64(q-1) - 1
	s.Words(out)
	for i, v := range out {
		if v &= mask; v >= q {
			s.redo(out, i, mask, q)
			return
		}
		out[i] = v
	}
}

// redo moves the accepted candidates from position kept on up, without a branch
// on their values, and draws what is missing.
func (s *Stream) redo(out []uint64, kept int, mask, q uint64) {
	for _, v := range out[kept:] {
		v &= mask
		out[kept] = v
		kept += int((v - q) >> 63)
	}
	for kept < len(out) {
		if v := s.Word() & mask; v < q {
			out[kept] = v
			kept++
		}
	}
}

// AddUniform adds uniform residues to x, or subtracts them.
func (s *Stream) AddUniform(x []uint64, q uint64, subtract bool, tmp []uint64) {
	tmp = tmp[:len(x)]
	s.Uniform(tmp, q)
	if subtract {
		for i, m := range tmp {
			x[i] = residue.Sub(x[i], m, q)
		}
		return
	}
	for i, m := range tmp {
		x[i] = residue.Add(x[i], m, q)
	}
}

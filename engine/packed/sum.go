package packed

import (
	"math/bits"
	"sync"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/workers"
)

// Sum adds messages, or the same window of messages, in one streaming pass: one
// vector, whatever their number.
// Safe for concurrent use.
type Sum struct {
	mu     sync.Mutex
	window Window
	runs   []run
	words  []uint64
	lazy   int // messages added since the last reduction, the reduced sum counting as one
	most   int // so many fit a word
}

// NewSum starts a sum.
func (w Window) NewSum() *Sum {
	widest := 0
	for _, q := range w.layout.WirePrimes() {
		widest = max(widest, bits.Len64(q))
	}
	runs := w.runs()
	last := runs[len(runs)-1]
	return &Sum{window: w, runs: runs, words: make([]uint64, last.word+last.count), most: 1 << (64 - widest)}
}

// Add adds one message's part, whole or not at all.
func (s *Sum) Add(message []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.words == nil {
		return fault.Closed
	}
	if len(message) != s.window.Bytes() {
		return fault.Message
	}
	if s.lazy+1 >= s.most {
		if err := s.reduce(); err != nil {
			return err
		}
	}
	err := s.pass(message, false)
	if err == nil {
		s.lazy++
		return nil
	}
	if s.pass(message, true) == fault.Internal { // not known what was added
		s.words = nil
	}
	return err
}

func (s *Sum) pass(message []byte, subtract bool) error {
	good := make([]bool, len(s.runs))
	err := workers.Each(len(s.runs), func(i int) {
		r := s.runs[i]
		row := s.words[r.word : r.word+r.count]
		good[i] = addPacked(row, message[r.byte:], r.width, s.window.layout.Primes[r.prime], subtract)
	})
	return verdictOf(good, err)
}

func (s *Sum) reduce() error {
	err := workers.Each(len(s.runs), func(i int) {
		r := s.runs[i]
		sub := s.window.layout.Ring.SubRings[r.prime]
		row := s.words[r.word : r.word+r.count]
		for k, v := range row {
			row[k] = ring.BRedAdd(v, sub.Modulus, sub.BRedConstant)
		}
	})
	s.lazy = 1
	return err
}

// Write reduces the sum and writes it as a message; more may be added after.
func (s *Sum) Write(out []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.words == nil {
		return fault.Closed
	}
	if len(out) != s.window.Bytes() {
		return fault.Buffer
	}
	if err := s.reduce(); err != nil {
		return err
	}
	return workers.Each(len(s.runs), func(i int) {
		r := s.runs[i]
		pack(out[r.byte:], s.words[r.word:r.word+r.count], r.width)
	})
}

// Close frees the memory.
func (s *Sum) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.words = nil
}

// AddTo adds the residues of ciphertext c of a message that Check accepted to x.
// They are not reduced: below 2q, which Decode takes.
func (l Layout) AddTo(x ring.Poly, message []byte, c int) {
	used, at := l.Used(c), c*l.CiphertextBytes()
	for j, q := range l.WirePrimes() {
		width := bits.Len64(q)
		addPacked(x.Coeffs[j][:used], message[at:], width, q, false)
		at += packedLen(used, width)
	}
}

package packed

import "github.com/tuneinsight/lattigo/v6/ring"

// Scratch is the memory of one ciphertext in work.
type Scratch struct {
	X     ring.Poly // residues
	Tmp   []uint64
	Small []int64 // noise
	chunk []uint64
}

func newScratch(p *Params) *Scratch {
	return &Scratch{
		X:     p.Ring.NewPoly(),
		Tmp:   make([]uint64, p.N),
		Small: make([]int64, p.N),
		chunk: make([]uint64, p.N*max(1, len(p.chunk))),
	}
}

// Borrow takes scratch memory; give it back with Return.
func (p *Params) Borrow() *Scratch { return p.scratch.Get().(*Scratch) }

// Return wipes scratch memory, which held noise and values, and gives it back.
func (p *Params) Return(s *Scratch) {
	for _, row := range s.X.Coeffs {
		clear(row)
	}
	clear(s.Tmp)
	clear(s.Small)
	clear(s.chunk)
	p.scratch.Put(s)
}

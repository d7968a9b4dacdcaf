package member

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/manifest"
	"fedanomaly/engine/packed"
	"fedanomaly/engine/stream"
	"fedanomaly/engine/workers"
)

// federation is a whole roster in one process: members[i] has roster index i + 1.
type federation struct {
	t             testing.TB
	threshold     int
	members       []*Member
	epoch, roster canonical.Hash
}

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func infoFor(from, to int) []byte {
	return canonical.ItemInt(canonical.ItemInt(canonical.Begin("deal info"), "from", uint64(from)), "to", uint64(to))
}

// enrol deals, receives and finishes.
func enrol(t testing.TB, n, threshold int) *federation {
	t.Helper()
	f := &federation{t: t, threshold: threshold, roster: canonical.Hash{byte(n), byte(threshold)}}
	var hellos [][]byte
	for i := range n {
		m := must(New(n, threshold, i+1))
		f.members = append(f.members, m)
		hellos = append(hellos, must(m.Hello()))
	}
	all := sha256.New()
	for from := range n {
		for to := range n {
			if from == to {
				continue
			}
			envelope := must(f.members[from].Deal(to+1, hellos[to], infoFor(from, to)))
			all.Write(envelope)
			check(t, f.members[to].Receive(from+1, hellos[from], infoFor(from, to), envelope))
		}
	}
	f.epoch = canonical.Hash(all.Sum(nil))
	tags := map[[32]byte]bool{}
	for _, m := range f.members {
		tags[must(m.Finish(f.epoch, f.roster))] = true
	}
	if len(tags) != 1 {
		t.Fatal("the members hold different group keys")
	}
	return f
}

var enrolled = struct {
	sync.Mutex
	by map[[2]int]*federation
}{by: map[[2]int]*federation{}}

// federationOf gives a federation that tests share; they must not change it.
func federationOf(t testing.TB, n, threshold int) *federation {
	t.Helper()
	enrolled.Lock()
	defer enrolled.Unlock()
	f, ok := enrolled.by[[2]int{n, threshold}]
	if !ok {
		f = enrol(t, n, threshold)
		enrolled.by[[2]int{n, threshold}] = f
	}
	shared := *f
	shared.t = t
	return &shared
}

// round is one manifest with everybody's values.
type round struct {
	*federation
	mf     *manifest.Manifest
	raw    []byte
	values [][]uint64
}

// shape is what a test varies about a round.
type shape struct {
	degree, bits, entries     int
	joined, decryptors, fixed []int
	kind                      string
	job                       uint64
	seed                      uint64
}

var steps struct {
	sync.Mutex
	count uint64
}

func (f *federation) round(s shape) *round {
	f.t.Helper()
	steps.Lock()
	steps.count++
	step := steps.count
	steps.Unlock()
	if s.joined == nil {
		s.joined = f.all()
	}
	if s.decryptors == nil {
		s.decryptors = s.joined[:min(len(s.joined), f.threshold+2)]
	}
	if s.kind == "" {
		s.kind = manifest.KindSum
	}
	config := packed.Config{Degree: s.degree, Members: len(f.members), Threshold: f.threshold, FieldBits: s.bits}
	l := must(must(packed.For(config)).Layout(s.entries))
	mf := &manifest.Manifest{Ciphertexts: l.Ciphertexts, Fixed: s.fixed, Decryptors: s.decryptors}
	mf.Ask = manifest.Ask{Kind: s.kind, Config: config, Entries: s.entries, Epoch: f.epoch, Roster: f.roster, Job: s.job, Step: step}
	for _, i := range s.joined {
		join := manifest.Join{Member: i, Generation: 1}
		binary.LittleEndian.PutUint64(join.Nonce[:], step)
		mf.Joins = append(mf.Joins, join)
	}
	r := &round{federation: f, raw: mf.Bytes()}
	r.mf = must(manifest.Parse(r.raw))
	rng := rand.New(rand.NewPCG(s.seed, 1))
	for range f.members {
		v := make([]uint64, s.entries)
		for k := range v {
			if v[k] = rng.Uint64N(1 << l.ValueBits); k%13 == 0 { // many at the upper end
				v[k] = 1<<l.ValueBits - 1
			}
		}
		r.values = append(r.values, v)
	}
	return r
}

func (f *federation) all() (out []int) {
	for i := range f.members {
		out = append(out, i+1)
	}
	return
}

func (r *round) contribution(i int) []byte {
	r.t.Helper()
	out := make([]byte, r.mf.Layout.Bytes())
	check(r.t, r.members[i-1].Contribution(r.raw, r.values[i-1], out))
	return out
}

func (r *round) share(j int, contributors []int) []byte {
	r.t.Helper()
	out := make([]byte, r.mf.Layout.Bytes())
	check(r.t, r.members[j-1].Share(r.raw, contributors, out))
	return out
}

// messages are the contributions, then the shares, that open this set.
func (r *round) messages(contributors []int) (out [][]byte) {
	r.t.Helper()
	for _, i := range contributors {
		out = append(out, r.contribution(i))
	}
	for _, j := range r.mf.Decryptors {
		out = append(out, r.share(j, contributors))
	}
	return
}

func (r *round) add(messages ...[]byte) []byte {
	r.t.Helper()
	s := r.mf.Layout.Whole().NewSum()
	for _, message := range messages {
		check(r.t, s.Add(message))
	}
	out := make([]byte, r.mf.Layout.Bytes())
	check(r.t, s.Write(out))
	return out
}

func (r *round) open(viewer int, contributors []int, sum []byte) ([]uint64, error) {
	out := make([]uint64, r.mf.Entries)
	err := r.members[viewer-1].Open(r.raw, contributors, sum, out)
	return out, err
}

// garbled decodes without the verdict: what would be seen, were it shown.
func (r *round) garbled(viewer int, contributors []int, sum []byte) []uint64 {
	out := make([]uint64, r.mf.Entries)
	_, _, err := r.members[viewer-1].decode(r.mf, contributors, sum, out)
	check(r.t, err)
	return out
}

func (r *round) want(contributors []int) []uint64 {
	out := make([]uint64, r.mf.Entries)
	for _, i := range contributors {
		for k, v := range r.values[i-1] {
			out[k] += v
		}
	}
	return out
}

func different(a, b []uint64) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return
}

func subsets(n, least int) (out [][]int) {
	for bits := range 1 << n {
		var s []int
		for i := range n {
			if bits>>i&1 == 1 {
				s = append(s, i+1)
			}
		}
		if len(s) >= least {
			out = append(out, s)
		}
	}
	return
}

// rows reads the residues of ciphertext c of a message.
func (r *round) rows(message []byte, c int) [][]uint64 {
	x := r.mf.Layout.Ring.NewPoly()
	r.mf.Layout.AddTo(x, message, c)
	return x.Coeffs[:len(r.mf.Layout.WirePrimes())]
}

// variant computes a share as a careless member would.
type variant struct {
	noZeroMasks, noCiphertextIndex, roundFirst, quiet bool
}

func (r *round) careless(j int, contributors []int, v variant) []byte {
	m, l := r.members[j-1], r.mf.Layout
	key := m.ringOf(l.N).openingKey(r.mf.Decryptors, contributors, j)
	pad := must(m.keys.groupKey("pad", r.mf.Job))
	out := make([]byte, l.Bytes())
	check(r.t, workers.Each(l.Ciphertexts, func(c int) {
		s := l.Borrow()
		defer l.Return(s)
		timesPublic(r.mf.Hash, c, key, l, s)
		addNoise(l, s, c, func(c int, f []int64, tmp []uint64) {
			if !v.quiet {
				m.prf(m.keys.f, ofSet("f", r.mf, contributors), c, 0).Smudging(f, l.SmudgingBound, tmp)
			}
		})
		if v.roundFirst {
			l.Drop(s.X, l.Used(c))
		}
		index := c
		if v.noCiphertextIndex {
			index = 0
		}
		mask := func(k stream.Key, label string, subtract bool) {
			for q, prime := range l.Primes {
				m.prf(k, ofSet(label, r.mf, contributors), index, q).AddUniform(s.X.Coeffs[q][:l.Used(c)], prime, subtract, s.Tmp)
			}
		}
		for _, k := range r.mf.Decryptors {
			if k != j && !v.noZeroMasks {
				mask(m.keys.zero[k-1], "zero", k < j)
			}
		}
		if j == r.mf.Decryptors[0] {
			mask(pad, "pad", false)
		}
		if !v.roundFirst {
			l.Drop(s.X, l.Used(c))
		}
		l.Pack(out, c, s.X)
	}))
	return out
}

// A careless share without any carelessness is the real one: the attack tests
// attack what members send.
func TestCarelessShareIsTheRealOneWithoutVariants(t *testing.T) {
	r := federationOf(t, 6, 2).round(shape{degree: 4096, bits: 20, entries: 100})
	if !bytes.Equal(r.careless(2, r.all(), variant{}), r.share(2, r.all())) {
		t.Fatal("the test's own share differs")
	}
}

package member

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/tuneinsight/lattigo/v6/core/rlwe"
	"github.com/tuneinsight/lattigo/v6/multiparty"
	"github.com/tuneinsight/lattigo/v6/ring"
	"github.com/tuneinsight/lattigo/v6/ring/ringqp"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/stream"
)

// Opening keys add up to S_U over all decryptors and not before; Lattigo's
// Combiner agrees where it is right, for exactly t points.
func TestOpeningKeysAddUpToTheContributorsSecrets(t *testing.T) {
	f := federationOf(t, 6, 3)
	contributors := []int{1, 2, 3, 5, 6}
	for which, mine := range f.members[0].rings {
		rq := mine.preset.Ring
		secret := rq.NewPoly()
		for _, i := range contributors {
			rq.Sub(secret, f.members[i-1].rings[which].negS, secret)
		}
		for _, decryptors := range [][]int{{1, 2, 3}, {2, 3, 5, 6}, {1, 2, 3, 4, 6}, {1, 2, 3, 4, 5, 6}} {
			sum := rq.NewPoly()
			for _, d := range decryptors {
				if sum.Equal(&secret) {
					t.Fatal("fewer suffice")
				}
				rq.Add(sum, f.members[d-1].rings[which].openingKey(decryptors, contributors, d), sum)
			}
			if !sum.Equal(&secret) {
				t.Fatal("the shares do not add up", decryptors)
			}
		}
	}
	decryptors, points := []int{1, 3, 6}, []multiparty.ShamirPublicPoint{1, 3, 6}
	held := f.members[2].rings[1]
	params := must(rlwe.NewParametersFromLiteral(rlwe.ParametersLiteral{
		LogN: 13, Q: held.preset.Primes, NTTFlag: true, Xs: ring.Ternary{P: 0.5}}))
	sum := held.preset.Ring.NewPoly()
	for _, i := range contributors {
		held.preset.Ring.Add(sum, held.shares[i-1], sum)
	}
	theirs := rlwe.NewSecretKey(params)
	combiner := multiparty.NewCombiner(params, points[1], points, 3)
	check(t, combiner.GenAdditiveShare(points, points[1], multiparty.ShamirSecretShare{Poly: ringqp.Poly{Q: sum}}, theirs))
	if ours := held.openingKey(decryptors, contributors, 3); !ours.Equal(&theirs.Value.Q) {
		t.Fatal("differs from Lattigo")
	}
}

// t - 1 key shares are independent of the secret: with t - 1 of them every
// secret is possible. Here: t shares give it back, t - 1 give another one.
func TestTooFewKeySharesGiveNothing(t *testing.T) {
	f := federationOf(t, 6, 3)
	rq := f.members[0].rings[0].preset.Ring
	combine := func(holders []int) ring.Poly {
		sum := rq.NewPoly()
		for _, h := range holders {
			rq.Add(sum, f.members[h-1].rings[0].openingKey(holders, []int{1}, h), sum)
		}
		rq.Add(sum, f.members[0].rings[0].negS, sum)
		return sum
	}
	zero := rq.NewPoly()
	if x := combine([]int{2, 4, 5}); !x.Equal(&zero) {
		t.Fatal("t shares must give the secret")
	}
	x := combine([]int{2, 4})
	for j, q := range f.members[0].rings[0].preset.Primes {
		if !looksUniform(x.Coeffs[j], zero.Coeffs[j], q) {
			t.Fatal("t - 1 shares say something")
		}
	}
}

func TestPairAndGroupKeysAgree(t *testing.T) {
	f := federationOf(t, 6, 3)
	for i, a := range f.members {
		for j, b := range f.members {
			if i != j && a.keys.zero[j] != b.keys.zero[i] || a.keys.chain != b.keys.chain {
				t.Fatal("keys differ")
			}
			if i != j && (a.keys.e == b.keys.e || a.keys.f == b.keys.f || a.keys.join == b.keys.join) {
				t.Fatal("members share a noise key")
			}
		}
	}
}

func TestForgettingErasesEarlierJobs(t *testing.T) {
	f := enrol(t, 3, 2)
	m := f.members[0]
	tag5, tag7 := must(m.Tag(5, []byte("x"))), must(m.Tag(7, []byte("x")))
	check(t, m.Forget(6))
	if _, err := m.Tag(5, []byte("x")); !errors.Is(err, fault.Refused) {
		t.Fatal("job 5 is still there")
	}
	if must(m.Tag(7, []byte("x"))) != tag7 || tag5 == tag7 {
		t.Fatal("another tag after forgetting")
	}
	if must(f.members[1].Tag(7, []byte("x"))) != tag7 || must(m.Tag(7, []byte("y"))) == tag7 {
		t.Fatal("a tag is a function of job and data, equal at every member")
	}
	r := f.round(shape{degree: 4096, bits: 20, entries: 3, job: 5})
	out := make([]byte, r.mf.Layout.Bytes())
	for name, err := range map[string]error{
		"contribution": m.Contribution(r.raw, r.values[0], out), "share": m.Share(r.raw, r.all(), out)} {
		if !errors.Is(err, fault.Refused) {
			t.Fatal(name, err)
		}
	}
	if err := m.Open(r.raw, r.all(), out, make([]uint64, 3)); !errors.Is(err, fault.Rejected) {
		t.Fatal(err)
	}
	check(t, m.Forget(2)) // going back does nothing
	if m.keys.job != 6 {
		t.Fatal("went back")
	}
	for _, far := range []uint64{6 + maxJobsAhead + 1, 1<<64 - 1} { // bounded work, whoever names the job
		if _, err := m.Tag(far, nil); !errors.Is(err, fault.Refused) || !errors.Is(m.Forget(far), fault.Argument) {
			t.Fatal(far)
		}
	}
}

// The nonce binds everything of the ask, the data snapshot, the frozen values and
// the random bytes; an ask of another epoch gets none.
func TestTheNonceBindsEverything(t *testing.T) {
	f := federationOf(t, 6, 2)
	m := f.members[0]
	ask := f.round(shape{degree: 4096, bits: 20, entries: 9}).mf.Ask
	seen := map[[32]byte]bool{}
	take := func(raw []byte, gen uint64, frozen, random canonical.Hash) {
		t.Helper()
		n := must(m.Nonce(raw, gen, frozen, random))
		if seen[n] {
			t.Fatal("a nonce twice")
		}
		seen[n] = true
	}
	raw := ask.AppendTo(nil)
	take(raw, 1, canonical.Hash{}, canonical.Hash{})
	take(raw, 2, canonical.Hash{}, canonical.Hash{})
	take(raw, 1, canonical.Hash{1}, canonical.Hash{})
	take(raw, 1, canonical.Hash{}, canonical.Hash{1})
	for _, change := range []func(){
		func() { ask.Kind = "test" }, func() { ask.Config.Degree = 8192 }, func() { ask.Config.FieldBits++ }, func() { ask.Entries++ },
		func() { ask.Policy[0]++ }, func() { ask.Job++ }, func() { ask.Round++ }, func() { ask.Step++ }, func() { ask.Schema[0]++ },
		func() { ask.StepTag[0]++ }, func() { ask.StateTag[0]++ },
	} {
		change()
		take(ask.AppendTo(nil), 1, canonical.Hash{}, canonical.Hash{})
	}
	for _, change := range []func(){
		func() { ask.Epoch[0]++ }, func() { ask.Roster[0]++ }, func() { ask.Config.Members++ }, func() { ask.Config.Threshold++ },
	} {
		old := ask
		change()
		if _, err := m.Nonce(ask.AppendTo(nil), 1, canonical.Hash{}, canonical.Hash{}); !errors.Is(err, fault.Manifest) {
			t.Fatal("a nonce for another epoch")
		}
		ask = old
	}
	if _, err := m.Nonce(append(raw, 0), 1, canonical.Hash{}, canonical.Hash{}); !errors.Is(err, fault.Manifest) {
		t.Fatal("a nonce for bytes that are no ask")
	}
}

func TestDealsThatAreRefused(t *testing.T) {
	a, b, c := must(New(3, 2, 1)), must(New(3, 2, 2)), must(New(3, 2, 3))
	helloA, helloB, helloC := must(a.Hello()), must(b.Hello()), must(c.Hello())
	info := infoFor(1, 2)
	envelope := must(a.Deal(2, helloB, info))
	if len(envelope) != DealBytes() || len(helloA) != HelloBytes {
		t.Fatal("sizes", len(envelope), DealBytes(), len(helloA))
	}
	flipped := func(at int) []byte {
		e := slices.Clone(envelope)
		e[at] ^= 1
		return e
	}
	lying := slices.Clone(helloA)
	lying[len(lying)-1] ^= 1
	for name, try := range map[string]struct {
		got  error
		want fault.Code
	}{
		"other info":         {b.Receive(1, helloA, infoFor(1, 3), envelope), fault.Sealed},
		"other sender":       {b.Receive(3, helloC, info, envelope), fault.Sealed},
		"other receiver":     {c.Receive(1, helloA, info, envelope), fault.Sealed},
		"other commitment":   {b.Receive(1, lying, info, envelope), fault.Sealed},
		"hello of another":   {b.Receive(1, helloC, info, envelope), fault.Sealed},
		"encapsulation bit":  {b.Receive(1, helloA, info, flipped(5)), fault.Sealed},
		"body bit":           {b.Receive(1, helloA, info, flipped(encBytes+9)), fault.Sealed},
		"tag bit":            {b.Receive(1, helloA, info, flipped(len(envelope)-1)), fault.Sealed},
		"cut":                {b.Receive(1, helloA, info, envelope[1:]), fault.Sealed},
		"short hello":        {b.Receive(1, helloA[1:], info, envelope), fault.Sealed},
		"index 0":            {b.Receive(0, helloA, info, envelope), fault.Argument},
		"index n + 1":        {b.Receive(4, helloA, info, envelope), fault.Argument},
		"from oneself":       {b.Receive(2, helloB, info, envelope), fault.Argument},
		"finish before all":  {second(b.Finish(canonical.Hash{}, canonical.Hash{})), fault.Order},
		"nonce before ready": {second(b.Nonce(nil, 1, canonical.Hash{}, canonical.Hash{})), fault.Order},
		"tag before ready":   {second(b.Tag(1, nil)), fault.Order},
		"share before ready": {b.Share(nil, nil, nil), fault.Order},
		"deal to oneself":    {second(a.Deal(1, helloA, nil)), fault.Argument},
		"deal to index 0":    {second(a.Deal(0, helloA, nil)), fault.Argument},
		"deal to n + 1":      {second(a.Deal(4, helloA, nil)), fault.Argument},
		"deal without key":   {second(a.Deal(2, nil, nil)), fault.Sealed},
	} {
		if !errors.Is(try.got, try.want) {
			t.Errorf("%s: %v, not %v", name, try.got, try.want)
		}
	}
	check(t, b.Receive(1, helloA, info, envelope))
	if err := b.Receive(1, helloA, info, must(a.Deal(2, helloB, info))); !errors.Is(err, fault.Order) {
		t.Fatal("a second deal of one sender", err)
	}
	for _, bad := range [][3]int{{2, 2, 1}, {251, 2, 1}, {3, 1, 1}, {3, 3, 1}, {3, 2, 0}, {3, 2, 4}} {
		if _, err := New(bad[0], bad[1], bad[2]); !errors.Is(err, fault.Parameters) {
			t.Fatal(bad)
		}
	}
}

// Sender and receiver are inside the envelope as well: whoever seals another's
// deal again, under an info of its own, gets nothing accepted.
func TestADealNamesItsSenderAndReceiverInside(t *testing.T) {
	a := must(New(3, 2, 1))
	plain := dealHead(1, 2)
	for _, r := range a.rings {
		plain = canonical.Item(plain, "share", r.preset.AppendPoly(nil, r.shareFor(2)))
	}
	for _, label := range []string{"pair", "group", "salt"} {
		plain = canonical.Item(plain, label, make([]byte, 32))
	}
	if _, _, err := readDeal(plain, 1, 2); err != nil {
		t.Fatal(err)
	}
	for _, other := range [][2]int{{3, 2}, {1, 3}, {2, 1}} {
		if _, _, err := readDeal(plain, other[0], other[1]); !errors.Is(err, fault.Sealed) {
			t.Fatal("accepted as a deal of", other)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// After finishing nothing is left that only dealing needs, and after closing
// nothing at all.
func TestFinishAndCloseForget(t *testing.T) {
	f := enrol(t, 3, 2)
	m := f.members[0]
	for _, r := range m.rings {
		if m.deals != nil || r.s.Coeffs != nil || r.coeffs != nil {
			t.Fatal("dealing secrets are left")
		}
	}
	if _, err := m.Hello(); !errors.Is(err, fault.Order) {
		t.Fatal(err)
	}
	negS, share, keys := m.rings[0].negS.Coeffs[0], m.rings[1].shares[2].Coeffs[0], m.keys
	m.Close()
	m.Close()
	if slices.Max(negS) != 0 || slices.Max(share) != 0 || keys.e != (stream.Key{}) || keys.zero[1] != (stream.Key{}) || keys.chain != (stream.Key{}) {
		t.Fatal("secrets are left in memory")
	}
	for name, err := range map[string]error{
		"hello": second(m.Hello()), "tag": second(m.Tag(1, nil)), "share": m.Share(nil, nil, nil), "facts": second(m.Facts()),
		"seal": second(m.Seal(stream.Key{}, nil)), "size": second(m.SealedBytes()), "forget": m.Forget(1),
		"open": m.Open(nil, nil, nil, nil), "contribution": m.Contribution(nil, nil, nil)} {
		if !errors.Is(err, fault.Closed) {
			t.Fatal(name, err)
		}
	}
}

// A member can be sealed and unsealed in every phase and goes on where it was.
func TestSealingKeepsEverything(t *testing.T) {
	key, context := stream.Fresh(), []byte("epoch 1, member 2")
	again := func(m *Member) *Member {
		t.Helper()
		blob := must(m.Seal(key, context))
		if size := must(m.SealedBytes()); len(blob) > size {
			t.Fatal("larger than announced", len(blob), size)
		}
		copied := must(Unseal(key, context, blob))
		if !bytes.Equal(copied.appendState(nil), m.appendState(nil)) {
			t.Fatal("another state")
		}
		return copied
	}
	members := []*Member{must(New(3, 2, 1)), must(New(3, 2, 2)), must(New(3, 2, 3))}
	members[1] = again(members[1])
	hellos := [][]byte{must(members[0].Hello()), must(members[1].Hello()), must(members[2].Hello())}
	for from := range 3 {
		for to := range 3 {
			if from != to {
				check(t, members[to].Receive(from+1, hellos[from], infoFor(from, to), must(members[from].Deal(to+1, hellos[to], infoFor(from, to)))))
				members[1] = again(members[1])
			}
		}
	}
	f := &federation{t: t, threshold: 2, members: members, epoch: canonical.Hash{9}, roster: canonical.Hash{8}}
	tags := map[[32]byte]bool{}
	for i, m := range members {
		tags[must(m.Finish(f.epoch, f.roster))] = true
		members[i] = again(m)
	}
	check(t, members[1].Forget(3))
	members[1] = again(members[1])
	r := f.round(shape{degree: 8192, bits: 20, entries: 100, job: 3})
	got, err := r.open(2, r.all(), r.add(r.messages(r.all())...))
	if err != nil || !slices.Equal(got, r.want(r.all())) || len(tags) != 1 {
		t.Fatal(err, len(tags))
	}
	if facts := must(members[1].Facts()); facts != (Facts{3, 2, 2, true, f.epoch, f.roster}) {
		t.Fatal(facts)
	}
	blob := must(members[1].Seal(key, context))
	if bytes.Equal(blob, must(members[1].Seal(key, context))) {
		t.Fatal("sealed twice under one key stream")
	}
	for name, try := range map[string]func() (*Member, error){
		"key":     func() (*Member, error) { return Unseal(stream.Fresh(), context, blob) },
		"context": func() (*Member, error) { return Unseal(key, nil, blob) },
		"bit":     func() (*Member, error) { b := slices.Clone(blob); b[40] ^= 1; return Unseal(key, context, b) },
		"salt":    func() (*Member, error) { b := slices.Clone(blob); b[0] ^= 1; return Unseal(key, context, b) },
		"cut":     func() (*Member, error) { return Unseal(key, context, blob[:len(blob)-1]) },
		"empty":   func() (*Member, error) { return Unseal(key, context, nil) },
	} {
		if m, err := try(); m != nil || !errors.Is(err, fault.Sealed) {
			t.Fatal(name, err)
		}
	}
}

// A state that contradicts itself does not become a member, though it was sealed
// with the right key.
func TestAContradictoryStateIsRefused(t *testing.T) {
	for name, change := range map[string]func(m *Member){
		"index beyond the roster": func(m *Member) { m.index = 4 },
		"threshold of everybody":  func(m *Member) { m.threshold = 3 },
		"phase":                   func(m *Member) { m.phase = closed },
		"own part of the group":   func(m *Member) { m.deals.got[0].group[0] ^= 1 },
		"residue":                 func(m *Member) { m.rings[1].s.Coeffs[0][0] = m.rings[1].preset.Primes[0] },
		"missing coefficient":     func(m *Member) { m.rings[0].coeffs = nil },
	} {
		m := must(New(3, 2, 1))
		change(m)
		var state []byte
		if m.phase == closed {
			m.phase = dealing
			state = bytes.Replace(m.appendState(nil), canonical.ItemInt(nil, "phase", 0), canonical.ItemInt(nil, "phase", 2), 1)
		} else {
			state = m.appendState(nil)
		}
		if got, err := readState(state); got != nil || !errors.Is(err, fault.Sealed) {
			t.Error(name, err)
		}
	}
	if _, err := readState(must(New(3, 2, 1)).appendState(nil)); err != nil {
		t.Error(err)
	}
}

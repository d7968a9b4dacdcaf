package scoring

import (
	"crypto/sha256"
	"math"
	"math/big"
	"runtime"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
	"fedanomaly/engine/kernel"
	"fedanomaly/engine/stream"
)

func hash(input []byte) stream.Key { return sha256.Sum256(input) }

// Circuit is a model ready to score the batches of one tenant. Immutable, safe
// for concurrent use.
type Circuit struct {
	Shape
	preset     *preset
	set        kernel.Set
	outputs    []output
	polynomial *polynomial     // of the kind Polynomial only, which has no other output
	inC        *kernel.Squares // the outputs, where a Quadratic has them for C
}

// output is one score of every event.
type output struct {
	form     kernel.Form
	fixed    []int32  // W a; mirrored, if it is to be squared
	constant []uint32 // what a tenant needs to decrypt, the same for all batches
}

// Literal describes a circuit: affine forms over readings of at most MaxReading.
type Literal struct {
	Kind     Kind
	Features int
	Rows     []int     // forms of each output; 1 each for Linear
	Weights  []float64 // [form][feature]
	Bias     []float64 // [form]
	Layer    Layer     // of a Polynomial only
}

// Prepare checks a model and computes what depends only on it and on the
// polynomials of one tenant.
func Prepare(literal Literal, seed canonical.Hash, set kernel.Set) (*Circuit, error) {
	weightBits, err := literal.weightBits()
	if err != nil {
		return nil, err
	}
	c := &Circuit{Shape: Shape{literal.Kind, literal.Features, len(literal.Rows), weightBits}, set: set}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.preset, err = presetOf(literal.Kind); err != nil {
		return nil, err
	}
	if set < kernel.Portable || set > kernel.Best() {
		return nil, fault.Argument
	}
	a := c.preset.public(seed, literal.Features)
	if c.Kind == Polynomial {
		c.polynomial = c.preparePolynomial(literal, a)
		return c, nil
	}
	first := 0
	for _, rows := range literal.Rows {
		c.outputs = append(c.outputs, c.prepare(literal, first, rows, a))
		first += rows
	}
	c.ready()
	return c, nil
}

// weightBits checks a literal and returns the largest scale with which the
// products of a row and residues stay exact in float64.
func (l Literal) weightBits() (int, error) {
	forms := 0
	for _, rows := range l.Rows {
		if rows < 1 || rows > maxRows || l.Kind == Linear && rows != 1 {
			return 0, fault.Argument
		}
		forms += rows
	}
	if l.Features < 1 || len(l.Bias) != forms || len(l.Weights) != forms*l.Features || forms > maxRows {
		return 0, fault.Argument
	}
	largest, ok := largestNorm(l.Weights, l.Bias)
	if !ok {
		return 0, fault.Value
	}
	if l.Kind == Polynomial {
		return l.mixBits(largest)
	}
	if len(l.Layer.Mix)+len(l.Layer.Direct)+len(l.Layer.Bias) > 0 {
		return 0, fault.Argument
	}
	for b := MaxWeightBits; b >= MinWeightBits; b-- {
		if largest*math.Exp2(float64(b)) <= room(l.Features) {
			return b, nil
		}
	}
	return 0, fault.Capacity
}

// room is how large the scaled weights of a row may be together. Whole weights
// differ from the scaled ones by half each.
func room(weights int) float64 { return math.Exp2(51-primeBits) - 2 - float64(weights)/2 }

// largestNorm returns the largest L1 norm of the forms, one for every bias; false
// if a number is none or a bias is too large.
func largestNorm(weights, bias []float64) (largest float64, ok bool) {
	for j, b := range bias {
		norm, n := 0.0, len(weights)/len(bias)
		for _, w := range weights[j*n : (j+1)*n] {
			norm += math.Abs(w)
		}
		largest = max(largest, norm)
		if math.IsNaN(norm) || math.IsInf(norm, 0) || math.IsNaN(b) || math.Abs(b) > maxBias {
			return 0, false
		}
	}
	return largest, true
}

// maxBias keeps an encoded bias a number that float64 holds to the unit or better.
const maxBias = 1 << 14

// prepare makes one output out of `rows` forms from the first on.
func (c *Circuit) prepare(literal Literal, first, rows int, a []uint32) output {
	d, p := c.Features, c.preset
	form := kernel.Form{Points: p.points, Features: d, Rows: rows, Primes: p.floats,
		Weights: make([]float64, d*rows)}
	form.Bias = form.Origins()
	scale := math.Exp2(float64(c.WeightBits))
	for j := range rows {
		for i, w := range literal.Weights[(first+j)*d : (first+j+1)*d] {
			form.Weights[i*rows+j] = math.RoundToEven(w * scale)
		}
		whole, _ := big.NewFloat(math.RoundToEven(literal.Bias[first+j] * scale * math.Exp2(float64(p.inputBits)))).Int(nil)
		for l, q := range p.primes {
			// b + b i in every slot: X^(N/2) is i at half of the points, -i at the others.
			b := new(big.Int).Mod(whole, new(big.Int).SetUint64(q)).Uint64()
			form.Bias[l*rows+j] += float64((b + b*p.root[l][0]) % q)
			form.Bias[(p.limbs+l)*rows+j] += float64((b + b*p.root[l][p.points-1]) % q)
		}
	}
	form.Ready(c.set)
	out := output{form: form, fixed: make([]int32, p.limbs*p.points*rows)}
	out.form.Linear(c.set, a, false, out.fixed)
	if c.Kind == Linear {
		out.constant = p.canonical(out.fixed)
		return out
	}
	out.constant = c.squares(out.fixed, rows)
	form.Mirror(out.fixed)
	return out
}

// squares returns S3 = sum z^2 at all points and T3 = sum z(p) z(p') at the first
// half, z being fixed.
func (c *Circuit) squares(fixed []int32, rows int) []uint32 {
	p := c.preset
	points, all := p.points, polynomialWords(c.Kind)
	out := make([]uint32, constantWords(c.Kind))
	for l, prime := range p.primes {
		q := int64(prime)
		for n := range points {
			var square, cross int64
			for j := range rows {
				z := int64(fixed[p.place(rows, l, n, j)])
				square = (square + z*z) % q
				cross = (cross + z*int64(fixed[p.place(rows, l, points-1-n, j)])) % q
			}
			out[l*points+n] = uint32(square)
			if n < points/2 {
				out[all+l*points/2+n] = uint32((cross + q) % q)
			}
		}
	}
	return out
}

// canonical brings signed residues of all limbs into [0, q).
func (p *preset) canonical(signed []int32) []uint32 {
	out := make([]uint32, len(signed))
	each := len(signed) / p.limbs
	for l, q := range p.primes {
		for i, v := range signed[l*each : (l+1)*each] {
			out[l*each+i] = uint32(v) + uint32(v>>31)&uint32(q)
		}
	}
	return out
}

// Constants returns what a tenant needs to decrypt answers. It tells the tenant
// the quadratic form; so would any few hundred scores.
func (c *Circuit) Constants() []uint32 {
	out := make([]uint32, 0, c.ConstantWords())
	if c.polynomial != nil {
		return append(out, c.polynomial.constant...)
	}
	for _, o := range c.outputs {
		out = append(out, o.constant...)
	}
	return out
}

// ready puts the outputs of a Quadratic circuit where C finds them, until nobody has
// the circuit any more.
func (c *Circuit) ready() {
	if c.Kind != Quadratic || c.set == kernel.Portable {
		return
	}
	forms, fixed := make([]*kernel.Form, len(c.outputs)), make([][]int32, len(c.outputs))
	for i := range c.outputs {
		forms[i], fixed[i] = &c.outputs[i].form, c.outputs[i].fixed
	}
	c.inC = kernel.NewSquares(c.set, forms, fixed)
	runtime.AddCleanup(c, (*kernel.Squares).Close, c.inC)
}

// Address is where C finds the outputs; 0 if it does not.
func (c *Circuit) Address() int64 {
	if c.inC == nil {
		return 0
	}
	return c.inC.Address()
}

// Score computes the answer to an encrypted batch.
func (c *Circuit) Score(batch, answer []uint32) error {
	if len(batch) != c.BatchWords() || len(answer) != c.AnswerWords() {
		return fault.Buffer
	}
	if c.inC != nil {
		defer runtime.KeepAlive(c)
		return c.inC.Score(batch, answer)
	}
	// Kernels of squares look at every residue when they have it in their hands.
	if c.Kind == Linear && !kernel.Below(c.preset.floats, batch) {
		return fault.Message
	}
	if c.polynomial != nil {
		if !c.polynomial.form.Score(c.set, &c.polynomial.fixed, batch, answer) {
			clear(answer)
			return fault.Message
		}
		return nil
	}
	all := polynomialWords(c.Kind)
	each := answerWords(c.Kind)
	for i := range c.outputs {
		o, to := &c.outputs[i], answer[i*each:(i+1)*each]
		if c.Kind == Linear {
			y := make([]int32, all)
			o.form.Linear(c.set, batch, true, y)
			copy(to, c.preset.canonical(y))
			continue
		}
		if !o.form.Quadratic(c.set, o.fixed, batch,
			kernel.Answer{S1: to[:all], S2: to[all : 2*all], U: to[2*all : 3*all], T1: to[3*all:]}) {
			clear(answer)
			return fault.Message
		}
	}
	return nil
}

package scoring

import (
	"math"
	"math/big"

	"github.com/tuneinsight/lattigo/v6/ring"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/kernel"
)

// Layer is what a Polynomial makes of the squares u of its h forms y:
//
//	sum_i (sum_j Mix_ij u_j + Direct_i t_i + Shift_i)^2 + sum_k (Weights_k x + Bias_k)^2
//
// t is the event itself, so that there is a row for every feature (a square-
// activation autoencoder), or y, so that there is one for every form (polynomials
// of projections). Weights of the rows belong into Mix, Direct and Shift.
type Layer struct {
	Mix           []float64 // [row][form]
	Direct, Shift []float64 // [row]
	OfForms       bool      // t is y
	Weights       []float64 // of the plain squares: [square][feature]
	Bias          []float64 // [square]
}

// layerBits is the scale of all weights of a Polynomial but Mix. With 10 bits for
// Mix a batch holds a mean score of 30,000, and four times that for every bit less.
// Weights that are whole at these scales are computed as they are: then only noise
// makes an error, and every bit that readings have more, at the price of four
// of the range, halves it.
const layerBits = 13

// rowBits is the scale of a row: of a weight times the square of a form.
func rowBits(input, weights int) int { return 2*(input+layerBits) + weights }

// polynomial is a score of degree 4 with what depends on the model and a only.
type polynomial struct {
	form     kernel.Polynomial
	fixed    kernel.Fixed
	constant []uint32 // the coefficient of s^4
}

// mixBits checks a layer and returns the largest scale of Mix with which rows stay
// exact and an empty place in range; norm is that of the forms.
func (l Literal) mixBits(norm float64) (int, error) {
	layer, hidden := l.Layer, len(l.Bias)
	rows := l.Features
	if layer.OfForms {
		rows = hidden
	}
	if len(l.Rows) != 1 || hidden > kernel.MaxHidden || len(layer.Direct) != rows || len(layer.Shift) != rows ||
		len(layer.Mix) != rows*hidden || len(layer.Bias) > maxRows || len(layer.Weights) != len(layer.Bias)*l.Features {
		return 0, fault.Argument
	}
	mixed, ok := largestNorm(layer.Mix, layer.Shift)
	plain, fine := largestNorm(layer.Weights, layer.Bias)
	direct, right := largestNorm(layer.Direct, layer.Shift)
	if !ok || !fine || !right {
		return 0, fault.Value
	}
	const scale = 1 << layerBits
	if max(norm, plain)*scale > room(l.Features) {
		return 0, fault.Capacity
	}
	for b := literals[Polynomial].maxWeightBits; b >= MinWeightBits; b-- {
		limit, err := Shape{Polynomial, l.Features, 1, b}.Range()
		if err != nil {
			return 0, err
		}
		if mixed*math.Exp2(float64(b))+direct*scale <= room(hidden+1) && l.ofOrigin() <= limit {
			return b, nil
		}
	}
	return 0, fault.Capacity
}

// preparePolynomial scales a model. A row is short of 2^(rowBits - its own scale):
// readings times that would need a reduction each, so the squares are divided by
// it (fold), mod q, and the sums multiplied by its square.
func (c *Circuit) preparePolynomial(l Literal, a []uint32) *polynomial {
	p, layer := c.preset, l.Layer
	hidden, rows, plain := len(l.Bias), len(layer.Direct), len(layer.Bias)
	form := p.inputBits + layerBits // the scale of forms, and of rows of readings
	own := form
	if layer.OfForms {
		own += layerBits
	}
	out := &polynomial{form: kernel.Polynomial{
		Forms: p.affine(l.Features, l.Weights, l.Bias), Plain: p.affine(l.Features, layer.Weights, layer.Bias),
		Rows: rows, OfForms: layer.OfForms, Mix: make([]float64, hidden*rows), Direct: scaled(layer.Direct, layerBits),
		Shift: p.biases(layer.Shift, own), Span: make([]int32, 2*rows), Factors: make([]float64, 5*p.limbs),
	}}
	for i := range rows {
		span := out.form.Span[2*i : 2*i+2]
		for j, w := range scaled(layer.Mix[i*hidden:(i+1)*hidden], c.WeightBits) {
			out.form.Mix[j*rows+i] = w
			if w != 0 {
				if span[1] == 0 {
					span[0] = int32(j)
				}
				span[1] = int32(j + 1)
			}
		}
	}
	bits := rowBits(p.inputBits, c.WeightBits)
	for k, power := range []int{own - bits, 2 * (bits - own), 2*(bits-own) + 1, 2 * (bits - form), 2*(bits-form) + 1} {
		for l, q := range p.primes {
			out.form.Factors[5*l+k] = float64(centre(powerOfTwo(power, q), q))
		}
	}
	c.fix(out, a, rows, plain)
	return out
}

// fix computes what comes from the polynomials a: with y1 = W a, w = fold y1^2 and
// r2 = Mix w, a row is r0 + r1 s + r2 s^2.
func (c *Circuit) fix(out *polynomial, a []uint32, rows, plain int) {
	p, form, fixed := c.preset, &out.form, &out.fixed
	hidden, all := form.Forms.Rows, polynomialWords(c.Kind)
	fixed.Forms, fixed.Rows1 = make([]int32, all*hidden), make([]int32, all*rows)
	fixed.Rows2, fixed.Plain, fixed.Square = make([]int32, all*rows), make([]int32, all*plain), make([]int32, all)
	form.Forms.Linear(c.set, a, false, fixed.Forms)
	if plain > 0 {
		form.Plain.Linear(c.set, a, false, fixed.Plain)
	}
	squares := make([]uint32, all*hidden)
	out.constant = make([]uint32, all)
	for l, prime := range p.primes {
		q := int64(prime)
		fold := int64(form.Factors[5*l])
		for n := range p.points {
			for i := range rows {
				at := p.place(rows, l, n, i)
				var t int64
				if form.OfForms {
					t = int64(fixed.Forms[at])
				} else {
					t = int64(a[at])
				}
				fixed.Rows1[at] = int32(((t*int64(form.Direct[i])-3<<51)%q + q) % q)
			}
			for j := range hidden {
				at := p.place(hidden, l, n, j)
				y := int64(fixed.Forms[at])
				y1 := y * fold % q
				squares[at] = uint32((y*y1%q + q) % q)
				fixed.Forms[at] = centre(2*y1, prime)
			}
		}
	}
	mix := kernel.Form{Points: p.points, Features: hidden, Rows: rows, Weights: form.Mix, Primes: p.floats}
	mix.Linear(c.set, squares, false, fixed.Rows2)
	for l, prime := range p.primes {
		q := int64(prime)
		ofRows, ofPlain := int64(form.Factors[5*l+1]), int64(form.Factors[5*l+3])
		for n := range p.points {
			var fourth, second int64
			for i := range rows {
				at := p.place(rows, l, n, i)
				r := int64(fixed.Rows2[at])
				fourth = (fourth + r*r) % q
				fixed.Rows2[at] = centre(2*r, prime)
			}
			for k := range plain {
				z := int64(fixed.Plain[p.place(plain, l, n, k)])
				second = (second + z*z) % q
			}
			out.constant[l*p.points+n] = uint32((fourth*ofRows%q + q) % q)
			fixed.Square[l*p.points+n] = centre(second*ofPlain, prime)
		}
	}
}

// affine scales forms; their biases are the same at all points.
func (p *preset) affine(features int, weights, bias []float64) kernel.Form {
	rows := len(bias)
	f := kernel.Form{Points: p.points, Features: features, Rows: rows, Primes: p.floats,
		Weights: make([]float64, features*rows), Bias: p.biases(bias, p.inputBits+layerBits)}
	for at, w := range scaled(weights, layerBits) {
		f.Weights[at%features*rows+at/features] = w
	}
	return f
}

// scaled rounds x 2^bits to whole numbers.
func scaled(x []float64, bits int) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = math.RoundToEven(v * math.Exp2(float64(bits)))
	}
	return out
}

// biases returns round(x 2^bits) mod every prime, as a kernel wants it: [limb][x].
func (p *preset) biases(x []float64, bits int) (out []float64) {
	for _, q := range p.primes {
		for _, v := range scaled(x, bits) {
			whole, _ := big.NewFloat(v).Int(nil)
			out = append(out, kernel.Origin(float64(q))+float64(whole.Mod(whole, new(big.Int).SetUint64(q)).Uint64()))
		}
	}
	return
}

// centre is v mod q with at most q / 2 of magnitude.
func centre(v int64, q uint64) int32 {
	r := v % int64(q)
	half := int64(q / 2)
	switch {
	case r > half:
		r -= int64(q)
	case r < -half:
		r += int64(q)
	}
	return int32(r)
}

// powerOfTwo is 2^e mod q, for negative e as well.
func powerOfTwo(e int, q uint64) int64 {
	order := int(q - 1)
	return int64(ring.ModExp(2, uint64((e%order+order)%order), q))
}

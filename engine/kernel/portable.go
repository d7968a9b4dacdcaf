package kernel

import "slices"

// group is how many products of signed residues an int64 holds, with a residue.
const group = 30

// magic rounds a float64 below 2^51 to the nearest integer when added and taken
// off again.
const magic = 3 << 51

// near is v mod q with at most q / 2 of magnitude, give or take two, for |v| < 2^53.
func near(v int64, q, inverse float64) int64 {
	times := float64(v)*inverse + magic - magic
	return v - int64(times)*int64(q)
}

// canonical is v mod q in [0, q), for |v| < 2^63.
func canonical(v int64, q, inverse float64) uint32 {
	prime := int64(q)
	r := v - int64(float64(v)*inverse)*prime
	r += prime & (r >> 63)
	r += prime & (r >> 63)
	r -= prime
	r += prime & (r >> 63)
	return uint32(r)
}

// cells are the residues of features at a quarter of a block's points, and sums of
// a row those at all of them: of fixed size, so that no access to them is checked.
type (
	cells []([Block / 4]float64)
	sums  [Block]int64
)

// newCells makes room for the features at all points of a block.
func newCells(features int) (quarters [4]cells) {
	for i := range quarters {
		quarters[i] = make(cells, features)
	}
	return
}

// convert takes the residues of one block over. Processors multiply float64 faster
// than integers, and exactly here: all sums stay below 2^53.
func convert(x []uint32, out *[4]cells) {
	n := len(out[0])
	a, b, c, d := out[0], out[1][:n], out[2][:n], out[3][:n]
	for i := range a {
		v := (*[Block]uint32)(x[i*Block:])
		a[i] = [4]float64{float64(v[0]), float64(v[1]), float64(v[2]), float64(v[3])}
		b[i] = [4]float64{float64(v[4]), float64(v[5]), float64(v[6]), float64(v[7])}
		c[i] = [4]float64{float64(v[8]), float64(v[9]), float64(v[10]), float64(v[11])}
		d[i] = [4]float64{float64(v[12]), float64(v[13]), float64(v[14]), float64(v[15])}
	}
}

// block writes some rows of W x + bias at the 16 points of one block.
func (f *Form) block(x *[4]cells, weights, bias []float64, q, inverse float64, y []sums) {
	for j := range y {
		start := bias[j]
		row := weights[j*f.Features : (j+1)*f.Features]
		for part, quarter := range x {
			s0, s1, s2, s3 := products(row, quarter, start)
			out := (*[4]int64)(y[j][4*part:])
			out[0], out[1] = near(int64(s0), q, inverse), near(int64(s1), q, inverse)
			out[2], out[3] = near(int64(s2), q, inverse), near(int64(s3), q, inverse)
		}
	}
}

// products adds those of a row and the residues at four points. A function of its
// own, so that the sums and all that they need stay in registers.
//
//go:noinline
func products(row []float64, x cells, start float64) (s0, s1, s2, s3 float64) {
	s0, s1, s2, s3 = start, start, start, start
	x = x[:len(row)]
	for i, w := range row {
		v := &x[i]
		s0 += w * v[0]
		s1 += w * v[1]
		s2 += w * v[2]
		s3 += w * v[3]
	}
	return
}

// byRow returns the weights as [row][feature].
func (f *Form) byRow() []float64 {
	out := make([]float64, len(f.Weights))
	for i := range f.Features {
		for j := range f.Rows {
			out[j*f.Features+i] = f.Weights[i*f.Rows+j]
		}
	}
	return out
}

// at returns the part of a bias that belongs to a block of one prime.
func (f *Form) at(bias []float64, limb, block int) []float64 {
	if block >= f.Points/Block/2 {
		limb += len(f.Primes)
	}
	return bias[limb*f.Rows : (limb+1)*f.Rows]
}

func (f *Form) portableLinear(x []uint32, bias []float64, y []int32) {
	weights, in, out := f.byRow(), newCells(f.Features), make([]sums, f.Rows)
	for l, q := range f.Primes {
		for b := range f.Points / Block {
			at := l*f.Points/Block + b
			convert(x[at*f.Features*Block:], &in)
			f.block(&in, weights, f.at(bias, l, b), q, 1/q, out)
			for j, sum := range out {
				to := (*[Block]int32)(y[(at*f.Rows+j)*Block:])
				for p, v := range sum {
					to[p] = int32(v)
				}
			}
		}
	}
}

func (f *Form) portableQuadratic(fixed []int32, c0 []uint32, out Answer) bool {
	if !Below(f.Primes, c0) {
		return false
	}
	weights, blocks := f.byRow(), f.Points/Block
	x, xm := newCells(f.Features), newCells(f.Features)
	here, there := make([]sums, min(f.Rows, group)), make([]sums, min(f.Rows, group))
	for l, q := range f.Primes {
		for b := range blocks / 2 {
			at, mirror := l*blocks+b, (l+1)*blocks-1-b
			convert(c0[at*f.Features*Block:], &x)
			convert(c0[mirror*f.Features*Block:], &xm)
			lower := Answer{out.S1[at*Block:], out.S2[at*Block:], out.U[at*Block:], out.T1[(l*blocks/2+b)*Block:]}
			upper := Answer{out.S1[mirror*Block:], out.S2[mirror*Block:], out.U[mirror*Block:], nil}
			for g := 0; g < f.Rows; g += group {
				n := min(group, f.Rows-g)
				y, ym := here[:n], there[:n]
				f.block(&x, weights[g*f.Features:], f.at(f.Bias, l, b)[g:], q, 1/q, y)
				f.block(&xm, weights[g*f.Features:], f.at(f.Bias, l, blocks-1-b)[g:], q, 1/q, ym)
				for j := range ym {
					slices.Reverse(ym[j][:])
				}
				z, zm := fixed[(at*f.Rows+g)*Block:], fixed[(mirror*f.Rows+g)*Block:]
				dots(y, ym, z, zm, g == 0, q, lower)
				dots(ym, nil, zm, z, g == 0, q, upper)
			}
			for _, part := range [][]uint32{upper.S1, upper.S2, upper.U} {
				slices.Reverse(part[:Block])
			}
		}
	}
	return true
}

// dots adds the products of y with itself, with z, with the mirrored zm and, if
// wanted, with the mirrored rows other.
func dots(y, other []sums, z, zm []int32, first bool, q float64, out Answer) {
	z, zm = z[:len(y)*Block], zm[:len(y)*Block]
	s1, s2, u := (*[Block]uint32)(out.S1), (*[Block]uint32)(out.S2), (*[Block]uint32)(out.U)
	for p := range Block {
		var square, product, turned, cross int64
		if !first {
			square, product, turned = int64(s1[p]), int64(s2[p]), int64(u[p])
		}
		for j := range y {
			v := y[j][p]
			square += v * v
			product += v * int64(z[j*Block+p])
			turned += v * int64(zm[j*Block+p])
		}
		s1[p], s2[p], u[p] = canonical(square, q, 1/q), canonical(product, q, 1/q), canonical(turned, q, 1/q)
		if out.T1 == nil {
			continue
		}
		if !first {
			cross = int64(out.T1[p])
		}
		for j := range y {
			cross += y[j][p] * other[j][p]
		}
		out.T1[p] = canonical(cross, q, 1/q)
	}
}

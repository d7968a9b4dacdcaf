package kernel

// group is how many products of signed residues an int64 holds, with a residue.
const group = 30

// magic rounds a float64 below 2^51 to the nearest integer when added and taken
// off again.
const magic = 3 << 51

// near is v mod q with at most q / 2 of magnitude, for |v| < 2^53.
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

// block writes rows [first, first+count) of W x at the 16 points of one block.
func (f *Form) block(x []uint32, weights []int64, bias []float64, q, inverse float64, y []int64) {
	for j := range len(y) / Block {
		row, out := weights[j*f.Features:(j+1)*f.Features], (*[Block]int64)(y[j*Block:])
		var start int64
		if bias != nil {
			start = int64(bias[j])
		}
		// Four sums at a time stay in registers.
		for p := 0; p < Block; p += 4 {
			s0, s1, s2, s3 := start, start, start, start
			at := p
			for _, w := range row {
				v := (*[4]uint32)(x[at:])
				s0 += w * int64(v[0])
				s1 += w * int64(v[1])
				s2 += w * int64(v[2])
				s3 += w * int64(v[3])
				at += Block
			}
			out[p], out[p+1] = near(s0, q, inverse), near(s1, q, inverse)
			out[p+2], out[p+3] = near(s2, q, inverse), near(s3, q, inverse)
		}
	}
}

// byRow returns the weights as [row][feature] integers.
func (f *Form) byRow() []int64 {
	out := make([]int64, len(f.Weights))
	for i := range f.Features {
		for j := range f.Rows {
			out[j*f.Features+i] = int64(f.Weights[i*f.Rows+j])
		}
	}
	return out
}

// biasOf returns the bias at a block of one prime.
func (f *Form) biasOf(limb, block int) []float64 {
	if block >= f.Points/Block/2 {
		limb += len(f.Primes)
	}
	return f.Bias[limb*f.Rows : (limb+1)*f.Rows]
}

func (f *Form) portableLinear(x []uint32, biased bool, y []int32) {
	weights, sums := f.byRow(), make([]int64, f.Rows*Block)
	for l, q := range f.Primes {
		for b := range f.Points / Block {
			at := l*f.Points/Block + b
			var bias []float64
			if biased {
				bias = f.biasOf(l, b)
			}
			f.block(x[at*f.Features*Block:(at+1)*f.Features*Block], weights, bias, q, 1/q, sums)
			for i, v := range sums {
				y[at*f.Rows*Block+i] = int32(v)
			}
		}
	}
}

func (f *Form) portableQuadratic(fixed, mirrored []int32, c0 []uint32, out Answer) {
	weights, blocks := f.byRow(), f.Points/Block
	here, there := make([]int64, min(f.Rows, group)*Block), make([]int64, min(f.Rows, group)*Block)
	for l, q := range f.Primes {
		for b := range blocks / 2 {
			at, mirror := l*blocks+b, (l+1)*blocks-1-b
			x, xm := c0[at*f.Features*Block:(at+1)*f.Features*Block], c0[mirror*f.Features*Block:(mirror+1)*f.Features*Block]
			for g := 0; g < f.Rows; g += group {
				n := min(group, f.Rows-g)
				y, ym := here[:n*Block], there[:n*Block]
				f.block(x, weights[g*f.Features:], f.biasOf(l, b)[g:], q, 1/q, y)
				f.block(xm, weights[g*f.Features:], f.biasOf(l, blocks-1-b)[g:], q, 1/q, ym)
				z, zm := (at*f.Rows+g)*Block, (mirror*f.Rows+g)*Block
				part := Answer{out.S1[at*Block:], out.S2[at*Block:], out.U[at*Block:], out.T1[(l*blocks/2+b)*Block:]}
				dots(y, ym, fixed[z:], mirrored[zm:], g == 0, q, part)
				part = Answer{out.S1[mirror*Block:], out.S2[mirror*Block:], out.U[mirror*Block:], nil}
				dots(ym, y, fixed[zm:], mirrored[z:], g == 0, q, part)
			}
		}
	}
}

// dots adds the products of y with itself, with z, with the mirrored z and, if
// wanted, with the mirrored rows other.
func dots(y, other []int64, z, mirrored []int32, first bool, q float64, out Answer) {
	for p := range Block {
		var s1, s2, u, t1 int64
		if !first {
			s1, s2, u = int64(out.S1[p]), int64(out.S2[p]), int64(out.U[p])
			if out.T1 != nil {
				t1 = int64(out.T1[p])
			}
		}
		for j := p; j < len(y); j += Block {
			v := y[j]
			s1 += v * v
			s2 += v * int64(z[j])
			u += v * int64(mirrored[j])
			t1 += v * other[j-p+Block-1-p]
		}
		out.S1[p], out.S2[p], out.U[p] = canonical(s1, q, 1/q), canonical(s2, q, 1/q), canonical(u, q, 1/q)
		if out.T1 != nil {
			out.T1[p] = canonical(t1, q, 1/q)
		}
	}
}

package kernel

// signed is v mod q with at most q / 2 of magnitude, for |v| < 2^63.
func signed(v int64, q, inverse float64) int64 {
	r := int64(canonical(v, q, inverse))
	return r - int64(q)&((int64(q)/2-r)>>63)
}

func (p *Polynomial) portableScore(fixed *Fixed, c0, out []uint32) bool {
	if !Below(p.Forms.Primes, c0) {
		return false
	}
	f, blocks := &p.Forms, p.Forms.Points/Block
	weights, plain, mix := f.byRow(), p.Plain.byRow(), p.mixByRow()
	in, y, z := newCells(f.Features), make([]sums, f.Rows), make([]sums, p.Plain.Rows)
	u, v := make([]int64, f.Rows*Block), make([]int64, f.Rows*Block)
	for l, q := range f.Primes {
		factors := (*[5]float64)(p.Factors[5*l:])
		for b := range blocks {
			at := l*blocks + b
			x := c0[at*f.Features*Block : (at+1)*f.Features*Block]
			convert(x, &in)
			f.block(&in, weights, f.Bias[l*f.Rows:(l+1)*f.Rows], q, 1/q, y)
			for i := range u {
				form := y[i/Block][i%Block]
				u[i] = signed(signed(form*int64(factors[0]), q, 1/q)*form, q, 1/q)
				v[i] = signed(form*int64(fixed.Forms[at*f.Rows*Block+i]), q, 1/q)
			}
			if p.Plain.Rows > 0 {
				p.Plain.block(&in, plain, p.Plain.Bias[l*p.Plain.Rows:(l+1)*p.Plain.Rows], q, 1/q, z)
			}
			var total [7][Block]int64
			p.rowProducts(l, at, x, y, u, v, mix, fixed, &total)
			for i := range p.Plain.Rows * Block {
				zero, one := z[i/Block][i%Block], int64(fixed.Plain[at*p.Plain.Rows*Block+i])
				add(&total, 5, i%Block, i/Block, q, zero*zero, zero*one)
			}
			for n := range Block {
				for k := range total {
					total[k][n] = int64(canonical(total[k][n], q, 1/q))
				}
				times := func(k, factor int) int64 { return signed(total[k][n]*int64(factors[factor]), q, 1/q) }
				each, to := len(f.Primes)*f.Points, at*Block+n
				out[to] = canonical(times(0, 1)+times(5, 3), q, 1/q)
				out[each+to] = canonical(times(1, 2)+times(6, 4), q, 1/q)
				out[2*each+to] = canonical(times(2, 1)+times(3, 1)+int64(fixed.Square[to]), q, 1/q)
				out[3*each+to] = canonical(times(4, 1), q, 1/q)
			}
		}
	}
	return true
}

// rowProducts sums r0 r0, r0 r1, r1 r1, r0 r2 and r1 r2 over the rows of a block.
func (p *Polynomial) rowProducts(l, at int, x []uint32, y []sums, u, v, mix []int64, fixed *Fixed, total *[7][Block]int64) {
	q, hidden := p.Forms.Primes[l], p.Forms.Rows
	for i := range p.Rows {
		direct, shift := int64(p.Direct[i]), int64(p.Shift[l*p.Rows+i])
		from, to := int(p.Span[2*i]), int(p.Span[2*i+1])
		for n := range Block {
			t := int64(0)
			if p.OfForms {
				t = y[i][n]
			} else {
				t = int64(x[i*Block+n])
			}
			fix := (at*p.Rows+i)*Block + n
			r0, r1, r2 := direct*t+shift, int64(fixed.Rows1[fix])+magic, int64(fixed.Rows2[fix])
			for j := from; j < to; j++ {
				w := mix[i*hidden+j]
				r0 += w * u[j*Block+n]
				r1 += w * v[j*Block+n]
			}
			r0, r1 = near(r0, q, 1/q), near(r1, q, 1/q)
			add(total, 0, n, i, q, r0*r0, r0*r1, r1*r1, r0*r2, r1*r2)
		}
	}
}

// add adds the products of one row at one point to the sums from first on, and
// reduces those as often as a word would overflow.
func add(sums *[7][Block]int64, first, point, row int, q float64, products ...int64) {
	for k, v := range products {
		to := &sums[first+k][point]
		if row > 0 && row%group == 0 {
			*to = int64(canonical(*to, q, 1/q))
		}
		*to += v
	}
}

// mixByRow returns the weights as [row][hidden] integers.
func (p *Polynomial) mixByRow() []int64 {
	f := Form{Features: p.Forms.Rows, Rows: p.Rows, Weights: p.Mix}
	out := make([]int64, len(p.Mix))
	for i, w := range f.byRow() {
		out[i] = int64(w)
	}
	return out
}

package kernel

import (
	"math/rand/v2"
	"testing"
)

func TestTimesIsTheProductOfMatrixAndBatch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 7))
	const points, blocks = 64, 64 / Block
	for _, shape := range [][2]int{{1, 1}, {7, 2}, {8, 3}, {9, 1}, {16, 4}, {17, 11}, {30, 10}, {1001, 2}} {
		features, rows := shape[0], shape[1]
		matrix, x := residues(random, points*features*rows), residues(random, points*features)
		if features == 1001 { // the largest sums there are
			for _, part := range [][]uint32{matrix, x} {
				for i := range part {
					part[i] = uint32(primes[i*len(primes)/len(part)]) - 1
				}
			}
		}
		r := Rows{Points: points, Features: features, Rows: rows, Primes: primes, Words: matrix}
		for _, set := range sets() {
			out := make([]uint32, len(primes)*points*rows)
			for i := range out {
				out[i] = 1<<32 - 1 // what was there before must not count
			}
			r.Times(set, x, out)
			for at := range out {
				j, l, p := at/(len(primes)*points), at/points%len(primes), at%points
				var want uint64
				for i := range features {
					block := l*blocks + p/Block
					a, c := matrix[((block*rows+j)*features+i)*Block+p%Block], x[(block*features+i)*Block+p%Block]
					want = (want + uint64(a)*uint64(c)) % uint64(primes[l])
				}
				if uint64(out[at]) != want {
					t.Fatalf("%v %v: %d at row %d, prime %d, point %d, not %d", set, shape, out[at], j, l, p, want)
				}
			}
		}
	}
}

func BenchmarkTimes(b *testing.B) {
	random := rand.New(rand.NewPCG(2, 7))
	const points, features, rows = 4096, 30, 11
	r := Rows{Points: points, Features: features, Rows: rows, Primes: primes, Words: residues(random, points*features*rows)}
	x, out := residues(random, points*features), make([]uint32, len(primes)*points*rows)
	for _, set := range sets() {
		b.Run(set.String(), func(b *testing.B) {
			for b.Loop() {
				r.Times(set, x, out)
			}
			b.ReportMetric(float64(b.N*len(r.Words))/b.Elapsed().Seconds()/1e9, "Gproducts/s")
		})
	}
}

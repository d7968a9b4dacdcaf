package scoring

import (
	"testing"

	"github.com/tuneinsight/lattigo/v6/core/rlwe"
	"github.com/tuneinsight/lattigo/v6/schemes/ckks"
)

// BenchmarkStock is the same score, and the same encryption, by Lattigo's own
// calls on the same ring: what `make bench BENCH=encrypted_scoring` compares with.
func BenchmarkStock(b *testing.B) {
	const d, k = 30, 10
	p, err := presetOf(Quadratic)
	if err != nil {
		b.Fatal(err)
	}
	params, err := ckks.NewParametersFromLiteral(ckks.ParametersLiteral{LogN: 12, Q: p.primes, LogDefaultScale: p.inputBits})
	if err != nil {
		b.Fatal(err)
	}
	key := rlwe.NewKeyGenerator(params).GenSecretKeyNew()
	encryptor, encoder, evaluator := rlwe.NewEncryptor(params, key), ckks.NewEncoder(params), ckks.NewEvaluator(params, nil)
	events := float64(params.MaxSlots()) // one real event in each slot
	plain, values := ckks.NewPlaintext(params, params.MaxLevel()), make([]float64, params.MaxSlots())
	batch := make([]*rlwe.Ciphertext, d)
	encrypt := func(b *testing.B) {
		for i := range batch {
			if err := encoder.Encode(values, plain); err != nil {
				b.Fatal(err)
			}
			if batch[i], err = encryptor.EncryptNew(plain); err != nil {
				b.Fatal(err)
			}
		}
	}
	encrypt(b)
	b.Run("tenant", func(b *testing.B) {
		for b.Loop() {
			encrypt(b)
		}
		b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("server", func(b *testing.B) {
		square, sum := ckks.NewCiphertext(params, 2, params.MaxLevel()), ckks.NewCiphertext(params, 2, params.MaxLevel())
		for b.Loop() {
			for j := range k {
				form := ckks.NewCiphertext(params, 1, params.MaxLevel())
				form.Scale = batch[0].Scale.Mul(rlwe.NewScale(1 << 14))
				for i, c := range batch {
					if err := evaluator.MulThenAdd(c, 0.1+float64(i+j)*1e-3, form); err != nil {
						b.Fatal(err)
					}
				}
				if err := evaluator.Mul(form, form, square); err != nil {
					b.Fatal(err)
				}
				if j == 0 {
					sum.Copy(square)
				} else if err := evaluator.Add(sum, square, sum); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "events/s")
	})
}

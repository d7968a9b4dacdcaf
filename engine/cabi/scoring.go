package main

// #include <stdint.h>
import "C"

import (
	"fedanomaly/engine/fault"
	"fedanomaly/engine/kernel"
	"fedanomaly/engine/scoring"
)

// fa_kernel_facts writes the number of the best instruction set of this
// processor, and how many millions of multiply-adds a second one core can do
// with the given one.
//
//export fa_kernel_facts
func fa_kernel_facts(set C.int32_t, out *C.int64_t) C.int32_t {
	return guard(func() error {
		numbers, err := slice[int64](out, 2)
		if err != nil {
			return err
		}
		if set < 0 || kernel.Set(set) > kernel.Best() {
			return fault.Argument
		}
		numbers[0], numbers[1] = int64(kernel.Best()), int64(kernel.Peak(kernel.Set(set))*1000)
		return nil
	})
}

// fa_shape writes batch words, answer words, constant words, events of a batch;
// and to out_range the largest sum of the mean scores of both halves of a batch.
//
//export fa_shape
func fa_shape(kind, features, outputs, weightBits C.int32_t, out *C.int64_t, outRange *C.double) C.int32_t {
	return guard(func() error {
		shape := shapeOf(kind, features, outputs, weightBits)
		limit, err := shape.Range()
		if err != nil {
			return err
		}
		numbers, err := slice[int64](out, 4)
		if err != nil {
			return err
		}
		limits, err := slice[float64](outRange, 1)
		if err != nil {
			return err
		}
		numbers[0], numbers[1] = int64(shape.BatchWords()), int64(shape.AnswerWords())
		numbers[2], numbers[3] = int64(shape.ConstantWords()), int64(shape.Events())
		limits[0] = limit
		return nil
	})
}

// fa_circuit_new prepares a model for one tenant. rows: forms of each output;
// weights [form][feature]; seed: 32 bytes. A polynomial's layer: mix [row][form],
// direct and shift [row], plain weights [square][feature]; other kinds have none.
// Writes the handle, the weights' bits and what fa_squares_score, which C has, takes
// in place of fa_circuit_score, or 0. That is good until fa_free, during which none of
// its calls may be under way.
//
//export fa_circuit_new
func fa_circuit_new(kind, features, outputs C.int32_t, rows *C.int32_t, forms C.int64_t, weights, bias *C.double,
	ofForms C.int32_t, layerRows C.int64_t, mix, direct, shift *C.double, plain C.int64_t, plainWeights,
	plainBias *C.double, seed *C.uint8_t, set C.int32_t, out *C.int64_t) C.int32_t {
	return guard(func() error {
		numbers, err := slice[int64](out, 3)
		if err != nil {
			return err
		}
		const most = maxBytes / 8
		if features < 1 || forms < 0 || plain < 0 || layerRows < 0 || int64(max(forms, plain)) > most/int64(features) ||
			forms > 0 && int64(layerRows) > most/int64(forms) {
			return fault.Argument
		}
		counts, err := slice[int32](rows, int64(outputs))
		if err != nil {
			return err
		}
		literal := scoring.Literal{Kind: scoring.Kind(kind), Features: int(features)}
		for _, count := range counts {
			literal.Rows = append(literal.Rows, int(count))
		}
		if literal.Weights, err = slice[float64](weights, int64(forms)*int64(features)); err != nil {
			return err
		}
		if literal.Bias, err = slice[float64](bias, int64(forms)); err != nil {
			return err
		}
		layer := &literal.Layer
		layer.OfForms = ofForms != 0
		for _, part := range []struct {
			to   *[]float64
			from *C.double
			n    int64
		}{
			{&layer.Mix, mix, int64(layerRows) * int64(forms)}, {&layer.Direct, direct, int64(layerRows)},
			{&layer.Shift, shift, int64(layerRows)}, {&layer.Weights, plainWeights, int64(plain) * int64(features)},
			{&layer.Bias, plainBias, int64(plain)},
		} {
			if *part.to, err = slice[float64](part.from, part.n); err != nil {
				return err
			}
		}
		from, err := hash(seed)
		if err != nil {
			return err
		}
		circuit, err := scoring.Prepare(literal, from, kernel.Set(set))
		if err != nil {
			return err
		}
		numbers[0], numbers[1], numbers[2] = keep(circuit), int64(circuit.WeightBits), circuit.Address()
		return nil
	})
}

//export fa_circuit_constants
func fa_circuit_constants(handle C.int64_t, out *C.uint32_t, n C.int64_t) C.int32_t {
	return guard(func() error {
		circuit, err := find[*scoring.Circuit](int64(handle))
		if err != nil {
			return err
		}
		words, err := slice[uint32](out, int64(n))
		if err != nil {
			return err
		}
		if len(words) != circuit.ConstantWords() {
			return fault.Buffer
		}
		copy(words, circuit.Constants())
		return nil
	})
}

//export fa_circuit_score
func fa_circuit_score(handle C.int64_t, batch *C.uint32_t, nBatch C.int64_t, answer *C.uint32_t, n C.int64_t) C.int32_t {
	return guard(func() error {
		circuit, err := find[*scoring.Circuit](int64(handle))
		if err != nil {
			return err
		}
		in, err := slice[uint32](batch, int64(nBatch))
		if err != nil {
			return err
		}
		out, err := slice[uint32](answer, int64(n))
		if err != nil {
			return err
		}
		return circuit.Score(in, out)
	})
}

//export fa_tenant_new
func fa_tenant_new(kind, features, outputs, weightBits C.int32_t, seed *C.uint8_t, constants *C.uint32_t, n C.int64_t,
	handle *C.int64_t) C.int32_t {
	return guard(func() error {
		from, err := hash(seed)
		if err != nil {
			return err
		}
		words, err := slice[uint32](constants, int64(n))
		if err != nil {
			return err
		}
		if handle == nil {
			return fault.Argument
		}
		tenant, err := scoring.NewTenant(shapeOf(kind, features, outputs, weightBits), from, words)
		if err != nil {
			return err
		}
		return number(keep(tenant), handle)
	})
}

// fa_tenant_encrypt writes an encrypted batch and the handle of the key that
// decrypts its answer. There is no call that encrypts under a key that exists.
//
//export fa_tenant_encrypt
func fa_tenant_encrypt(handle C.int64_t, readings *C.double, n C.int64_t, out *C.uint32_t, nOut C.int64_t,
	key *C.int64_t) C.int32_t {
	return guard(func() error {
		tenant, err := find[*scoring.Tenant](int64(handle))
		if err != nil {
			return err
		}
		return encrypt(tenant.Encrypt, readings, n, out, nOut, key)
	})
}

func encrypt(with func([]float64, []uint32) (*scoring.BatchKey, error), readings *C.double, n C.int64_t, out *C.uint32_t,
	nOut C.int64_t, key *C.int64_t) error {
	rows, err := slice[float64](readings, int64(n))
	if err != nil {
		return err
	}
	batch, err := slice[uint32](out, int64(nOut))
	if err != nil {
		return err
	}
	if key == nil {
		return fault.Argument
	}
	made, err := with(rows, batch)
	if err != nil {
		return err
	}
	return number(keep(made), key)
}

// fa_tenant_decrypt opens one answer and spends the key, whatever comes of it.
//
//export fa_tenant_decrypt
func fa_tenant_decrypt(handle, key C.int64_t, answer *C.uint32_t, n C.int64_t, scores *C.double,
	nScores C.int64_t) C.int32_t {
	return guard(func() error {
		return decrypt(key, func() (opener, error) { return find[*scoring.Tenant](int64(handle)) }, answer, n, scores, nScores)
	})
}

// opener is who decrypts: a tenant, or the owner of an encrypted model.
type opener interface {
	Decrypt(key *scoring.BatchKey, answer []uint32, scores []float64) error
}

func decrypt(key C.int64_t, who func() (opener, error), answer *C.uint32_t, n C.int64_t, scores *C.double,
	nScores C.int64_t) error {
	spent, err := take[*scoring.BatchKey](int64(key))
	if err != nil {
		return err
	}
	defer spent.Close()
	owner, err := who()
	if err != nil {
		return err
	}
	in, err := slice[uint32](answer, int64(n))
	if err != nil {
		return err
	}
	out, err := slice[float64](scores, int64(nScores))
	if err != nil {
		return err
	}
	return owner.Decrypt(spent, in, out)
}

// fa_standardise scales readings as a detector does, out [event][feature], and
// marks with 1 the events that it leaves to the caller: a reading is missing, or
// farther than `usual` widths from its centre.
//
//export fa_standardise
func fa_standardise(readings *C.double, n C.int64_t, center, width, unit *C.double, features C.int64_t, grid,
	usual C.double, out *C.double, nOut C.int64_t, far *C.uint8_t, events C.int64_t) C.int32_t {
	return guard(func() error {
		rows, err := slice[float64](readings, int64(n))
		if err != nil {
			return err
		}
		scale := kernel.Scale{Grid: float64(grid), Usual: float64(usual)}
		for _, part := range []struct {
			to   *[]float64
			from *C.double
		}{{&scale.Center, center}, {&scale.Width, width}, {&scale.Unit, unit}} {
			if *part.to, err = slice[float64](part.from, int64(features)); err != nil {
				return err
			}
		}
		scaled, err := slice[float64](out, int64(nOut))
		if err != nil {
			return err
		}
		marks, err := bytes(far, events)
		if err != nil {
			return err
		}
		if len(marks) == 0 || features < 1 || int64(n)/int64(features) != int64(events) || int64(n)%int64(features) != 0 ||
			n != nOut {
			return fault.Argument
		}
		scale.Standardise(kernel.Best(), rows, scaled, marks)
		return nil
	})
}

func shapeOf(kind, features, outputs, weightBits C.int32_t) scoring.Shape {
	return scoring.Shape{Kind: scoring.Kind(kind), Features: int(features), Outputs: int(outputs),
		WeightBits: int(weightBits)}
}

package main

// #include <stdint.h>
import "C"

import (
	"fedanomaly/engine/kernel"
	"fedanomaly/engine/scoring"
)

// fa_hidden_shape writes model words, batch words, answer words of an encrypted
// model, and events of a batch.
//
//export fa_hidden_shape
func fa_hidden_shape(features, forms C.int32_t, out *C.int64_t) C.int32_t {
	return guard(func() error {
		model, batch, answer, err := scoring.HiddenShape{Features: int(features), Forms: int(forms)}.Sizes()
		if err != nil {
			return err
		}
		numbers, err := slice[int64](out, 4)
		if err != nil {
			return err
		}
		numbers[0], numbers[1], numbers[2], numbers[3] = int64(model), int64(batch), int64(answer), scoring.Events
		return nil
	})
}

// fa_hidden_new prepares an encrypted model. It is copied.
//
//export fa_hidden_new
func fa_hidden_new(features, forms C.int32_t, seed *C.uint8_t, words *C.uint32_t, n C.int64_t, set C.int32_t,
	handle *C.int64_t) C.int32_t {
	return guard(func() error {
		from, err := hash(seed)
		if err != nil {
			return err
		}
		in, err := slice[uint32](words, int64(n))
		if err != nil {
			return err
		}
		shape := scoring.HiddenShape{Features: int(features), Forms: int(forms)}
		model, err := scoring.NewHiddenModel(shape, from, in, kernel.Set(set))
		if err != nil {
			return err
		}
		return number(keep(model), handle)
	})
}

//export fa_hidden_score
func fa_hidden_score(handle C.int64_t, batch *C.uint32_t, nBatch C.int64_t, answer *C.uint32_t, n C.int64_t) C.int32_t {
	return guard(func() error {
		model, err := find[*scoring.HiddenModel](int64(handle))
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
		return model.Score(in, out)
	})
}

// fa_model_key_new encrypts weights [form][feature]. Writes the encrypted model,
// its seed of 32 bytes, the handle of its key and the weights' bits.
//
//export fa_model_key_new
func fa_model_key_new(features, forms C.int32_t, weights *C.double, words *C.uint32_t, n C.int64_t, seed *C.uint8_t,
	out *C.int64_t) C.int32_t {
	return guard(func() error {
		numbers, err := slice[int64](out, 2)
		if err != nil {
			return err
		}
		rows, err := slice[float64](weights, int64(features)*int64(forms))
		if err != nil {
			return err
		}
		model, err := slice[uint32](words, int64(n))
		if err != nil {
			return err
		}
		key, from, err := scoring.HideModel(int(features), rows, model)
		if err != nil {
			return err
		}
		if err := put32(from, seed); err != nil {
			return err
		}
		numbers[0], numbers[1] = keep(key), int64(key.WeightBits)
		return nil
	})
}

//export fa_model_key_encrypt
func fa_model_key_encrypt(handle C.int64_t, readings *C.double, n C.int64_t, out *C.uint32_t, nOut C.int64_t,
	key *C.int64_t) C.int32_t {
	return guard(func() error {
		model, err := find[*scoring.ModelKey](int64(handle))
		if err != nil {
			return err
		}
		return encrypt(model.Encrypt, readings, n, out, nOut, key)
	})
}

// fa_model_key_decrypt opens one answer and spends the key of the batch; an answer
// that no honest service gives closes the key of the model as well.
//
//export fa_model_key_decrypt
func fa_model_key_decrypt(handle, key C.int64_t, answer *C.uint32_t, n C.int64_t, forms *C.double,
	nForms C.int64_t) C.int32_t {
	return guard(func() error {
		return decrypt(key, func() (opener, error) { return find[*scoring.ModelKey](int64(handle)) }, answer, n, forms, nForms)
	})
}

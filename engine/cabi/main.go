// Command cabi is the engine as a C library. `fedanomaly.fhe._engine` declares
// the same functions for Python.
//
// Every function returns 0 or a number of package fault. Calls are coarse: a
// whole vector at a time, on buffers that the caller owns and that are used only
// during the call. Secrets stay behind handles.
package main

// #include <stdint.h>
import "C"

import (
	"fedanomaly/engine/fault"
	"fedanomaly/engine/manifest"
	"fedanomaly/engine/packed"
	"fedanomaly/engine/workers"
)

// abiVersion changes whenever a declaration or its meaning does.
const abiVersion = 7

func main() {}

//export fa_abi_version
func fa_abi_version() C.int32_t { return abiVersion }

//export fa_set_threads
func fa_set_threads(n C.int32_t) C.int32_t {
	return guard(func() error {
		if n < 0 {
			return fault.Argument
		}
		workers.Limit(int(n))
		return nil
	})
}

//export fa_free
func fa_free(handle C.int64_t) C.int32_t {
	return guard(func() error { return free(int64(handle)) })
}

// fa_layout writes coefficient_bits, fields_per_coefficient, value_bits,
// ciphertexts, coefficients, message_bytes, max_decryptors, ciphertext_bytes.
//
//export fa_layout
func fa_layout(degree, members, threshold, fieldBits C.int32_t, fields C.int64_t, out *C.int64_t) C.int32_t {
	return guard(func() error {
		params, err := packed.For(packed.Config{
			Degree: int(degree), Members: int(members), Threshold: int(threshold), FieldBits: int(fieldBits),
		})
		if err != nil {
			return err
		}
		l, err := params.Layout(int(fields))
		if err != nil {
			return err
		}
		numbers, err := slice[int64](out, 8)
		if err != nil {
			return err
		}
		for i, v := range []int{
			l.CoefficientBits, l.Fields, l.ValueBits, l.Ciphertexts, l.Coefficients, l.Bytes(), l.MaxDecryptors(),
			l.CiphertextBytes(),
		} {
			numbers[i] = int64(v)
		}
		return nil
	})
}

//export fa_manifest_check
func fa_manifest_check(raw *C.uint8_t, n C.int64_t, hashOut *C.uint8_t) C.int32_t {
	return guard(func() error {
		mf, err := readManifest(raw, n)
		if err != nil {
			return err
		}
		return put32(mf.Hash, hashOut)
	})
}

// fa_message_check checks count ciphertexts of a message, from the one numbered
// first.
//
//export fa_message_check
func fa_message_check(raw *C.uint8_t, n C.int64_t, first, count C.int64_t, part *C.uint8_t,
	nPart C.int64_t) C.int32_t {
	return guard(func() error {
		window, err := windowOf(raw, n, first, count)
		if err != nil {
			return err
		}
		b, err := bytes(part, nPart)
		if err != nil {
			return err
		}
		return window.Check(b)
	})
}

// fa_sum_new starts the sum of such a window.
//
//export fa_sum_new
func fa_sum_new(raw *C.uint8_t, n C.int64_t, first, count C.int64_t, handle *C.int64_t) C.int32_t {
	return guard(func() error {
		window, err := windowOf(raw, n, first, count)
		if err != nil {
			return err
		}
		if handle == nil {
			return fault.Argument
		}
		return number(keep(window.NewSum()), handle)
	})
}

//export fa_sum_add
func fa_sum_add(handle C.int64_t, message *C.uint8_t, n C.int64_t) C.int32_t {
	return guard(func() error {
		s, err := find[*packed.Sum](int64(handle))
		if err != nil {
			return err
		}
		b, err := bytes(message, n)
		if err != nil {
			return err
		}
		return s.Add(b)
	})
}

//export fa_sum_result
func fa_sum_result(handle C.int64_t, out *C.uint8_t, n C.int64_t) C.int32_t {
	return guard(func() error {
		s, err := find[*packed.Sum](int64(handle))
		if err != nil {
			return err
		}
		b, err := bytes(out, n)
		if err != nil {
			return err
		}
		return s.Write(b)
	})
}

func windowOf(raw *C.uint8_t, n, first, count C.int64_t) (packed.Window, error) {
	mf, err := readManifest(raw, n)
	if err != nil {
		return packed.Window{}, err
	}
	return mf.Layout.Window(int(first), int(count))
}

func readManifest(raw *C.uint8_t, n C.int64_t) (*manifest.Manifest, error) {
	b, err := bytes(raw, n)
	if err != nil {
		return nil, err
	}
	return manifest.Parse(b)
}

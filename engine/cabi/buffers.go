package main

// #include <stdint.h>
import "C"

import (
	"errors"
	"unsafe"

	"fedanomaly/engine/canonical"
	"fedanomaly/engine/fault"
)

// maxBytes bounds every length that crosses the boundary; unsafe.Slice would
// panic on nonsense.
const maxBytes = 1 << 40

// guard runs a call. No panic leaves this library: it would end the process of
// the caller.
func guard(call func() error) (code C.int32_t) {
	defer func() {
		if recover() != nil {
			code = C.int32_t(fault.Internal)
		}
	}()
	err := call()
	if err == nil {
		return 0
	}
	var number fault.Code
	if errors.As(err, &number) {
		return C.int32_t(number)
	}
	return C.int32_t(fault.Internal)
}

// slice views a buffer of the caller for the length of one call.
func slice[Go, C any](p *C, n int64) ([]Go, error) {
	var element Go
	var other C
	if n < 0 || n > maxBytes/int64(unsafe.Sizeof(element)) || p == nil && n > 0 ||
		unsafe.Sizeof(element) != unsafe.Sizeof(other) {
		return nil, fault.Argument
	}
	if n == 0 {
		return nil, nil
	}
	return unsafe.Slice((*Go)(unsafe.Pointer(p)), n), nil
}

func bytes(p *C.uint8_t, n C.int64_t) ([]byte, error) { return slice[byte](p, int64(n)) }

func hash(p *C.uint8_t) (canonical.Hash, error) {
	b, err := bytes(p, 32)
	if err != nil {
		return canonical.Hash{}, err
	}
	return canonical.Hash(b), nil
}

// set views roster indices.
func set(p *C.uint16_t, n C.int32_t) ([]int, error) {
	in, err := slice[uint16](p, int64(n))
	if err != nil {
		return nil, err
	}
	out := make([]int, len(in))
	for i, x := range in {
		out[i] = int(x)
	}
	return out, nil
}

// write copies a result of variable length; the caller gets the length in any
// case.
func write(result []byte, out *C.uint8_t, capacity C.int64_t, length *C.int64_t) error {
	if length == nil {
		return fault.Argument
	}
	*length = C.int64_t(len(result))
	b, err := bytes(out, capacity)
	if err != nil {
		return err
	}
	if len(b) < len(result) {
		return fault.Buffer
	}
	copy(b, result)
	return nil
}

func put32(result [32]byte, out *C.uint8_t) error {
	b, err := bytes(out, 32)
	if err != nil {
		return err
	}
	copy(b, result[:])
	return nil
}

func number(value int64, out *C.int64_t) error {
	if out == nil {
		return fault.Argument
	}
	*out = C.int64_t(value)
	return nil
}

package main

// #include <stdint.h>
import "C"

import "fedanomaly/engine/member"

//export fa_contribution
func fa_contribution(handle C.int64_t, raw *C.uint8_t, n C.int64_t, values *C.uint64_t, nValues C.int64_t,
	out *C.uint8_t, nOut C.int64_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		rawBytes, err := bytes(raw, n)
		if err != nil {
			return err
		}
		vector, err := slice[uint64](values, int64(nValues))
		if err != nil {
			return err
		}
		message, err := bytes(out, nOut)
		if err != nil {
			return err
		}
		return m.Contribution(rawBytes, vector, message)
	})
}

//export fa_share
func fa_share(handle C.int64_t, raw *C.uint8_t, n C.int64_t, contributors *C.uint16_t, count C.int32_t,
	out *C.uint8_t, nOut C.int64_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		rawBytes, err := bytes(raw, n)
		if err != nil {
			return err
		}
		who, err := set(contributors, count)
		if err != nil {
			return err
		}
		message, err := bytes(out, nOut)
		if err != nil {
			return err
		}
		return m.Share(rawBytes, who, message)
	})
}

//export fa_open
func fa_open(handle C.int64_t, raw *C.uint8_t, n C.int64_t, contributors *C.uint16_t, count C.int32_t,
	sum *C.uint8_t, nSum C.int64_t, out *C.uint64_t, nOut C.int64_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		rawBytes, err := bytes(raw, n)
		if err != nil {
			return err
		}
		who, err := set(contributors, count)
		if err != nil {
			return err
		}
		message, err := bytes(sum, nSum)
		if err != nil {
			return err
		}
		vector, err := slice[uint64](out, int64(nOut))
		if err != nil {
			return err
		}
		return m.Open(rawBytes, who, message, vector)
	})
}

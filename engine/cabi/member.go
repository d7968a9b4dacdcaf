package main

// #include <stdint.h>
import "C"

import (
	"fedanomaly/engine/fault"
	"fedanomaly/engine/member"
	"fedanomaly/engine/stream"
)

// with runs a call on a member.
func with(handle C.int64_t, call func(m *member.Member) error) C.int32_t {
	return guard(func() error {
		m, err := find[*member.Member](int64(handle))
		if err != nil {
			return err
		}
		return call(m)
	})
}

//export fa_member_new
func fa_member_new(members, threshold, index C.int32_t, handle *C.int64_t) C.int32_t {
	return guard(func() error {
		if handle == nil {
			return fault.Argument
		}
		m, err := member.New(int(members), int(threshold), int(index))
		if err != nil {
			return err
		}
		return number(keep(m), handle)
	})
}

// fa_member_facts writes members, threshold, index, and whether it is ready.
//
//export fa_member_facts
func fa_member_facts(handle C.int64_t, out *C.int64_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		facts, err := m.Facts()
		if err != nil {
			return err
		}
		numbers, err := slice[int64](out, 4)
		if err != nil {
			return err
		}
		numbers[0], numbers[1], numbers[2], numbers[3] = int64(facts.Members), int64(facts.Threshold), int64(facts.Index), 0
		if facts.Ready {
			numbers[3] = 1
		}
		return nil
	})
}

//export fa_member_hello
func fa_member_hello(handle C.int64_t, out *C.uint8_t, capacity C.int64_t, length *C.int64_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		hello, err := m.Hello()
		if err != nil {
			return err
		}
		return write(hello, out, capacity, length)
	})
}

//export fa_member_deal_bytes
func fa_member_deal_bytes(out *C.int64_t) C.int32_t {
	return guard(func() error { return number(int64(member.DealBytes()), out) })
}

//export fa_member_deal
func fa_member_deal(handle C.int64_t, to C.int32_t, hello *C.uint8_t, nHello C.int64_t, info *C.uint8_t,
	nInfo C.int64_t, out *C.uint8_t, capacity C.int64_t, length *C.int64_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		helloBytes, err := bytes(hello, nHello)
		if err != nil {
			return err
		}
		infoBytes, err := bytes(info, nInfo)
		if err != nil {
			return err
		}
		envelope, err := m.Deal(int(to), helloBytes, infoBytes)
		if err != nil {
			return err
		}
		return write(envelope, out, capacity, length)
	})
}

//export fa_member_receive
func fa_member_receive(handle C.int64_t, from C.int32_t, hello *C.uint8_t, nHello C.int64_t, info *C.uint8_t,
	nInfo C.int64_t, envelope *C.uint8_t, nEnvelope C.int64_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		helloBytes, err := bytes(hello, nHello)
		if err != nil {
			return err
		}
		infoBytes, err := bytes(info, nInfo)
		if err != nil {
			return err
		}
		envelopeBytes, err := bytes(envelope, nEnvelope)
		if err != nil {
			return err
		}
		return m.Receive(int(from), helloBytes, infoBytes, envelopeBytes)
	})
}

//export fa_member_finish
func fa_member_finish(handle C.int64_t, epoch, roster, confirmOut *C.uint8_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		epochHash, err := hash(epoch)
		if err != nil {
			return err
		}
		rosterHash, err := hash(roster)
		if err != nil {
			return err
		}
		tag, err := m.Finish(epochHash, rosterHash)
		if err != nil {
			return err
		}
		return put32(tag, confirmOut)
	})
}

//export fa_member_seal_bytes
func fa_member_seal_bytes(handle C.int64_t, out *C.int64_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		n, err := m.SealedBytes()
		if err != nil {
			return err
		}
		return number(int64(n), out)
	})
}

//export fa_member_seal
func fa_member_seal(handle C.int64_t, key, context *C.uint8_t, nContext C.int64_t, out *C.uint8_t,
	capacity C.int64_t, length *C.int64_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		sealingKey, err := hash(key)
		if err != nil {
			return err
		}
		contextBytes, err := bytes(context, nContext)
		if err != nil {
			return err
		}
		blob, err := m.Seal(stream.Key(sealingKey), contextBytes)
		if err != nil {
			return err
		}
		return write(blob, out, capacity, length)
	})
}

//export fa_member_unseal
func fa_member_unseal(key, context *C.uint8_t, nContext C.int64_t, blob *C.uint8_t, nBlob C.int64_t,
	handle *C.int64_t) C.int32_t {
	return guard(func() error {
		sealingKey, err := hash(key)
		if err != nil {
			return err
		}
		contextBytes, err := bytes(context, nContext)
		if err != nil {
			return err
		}
		blobBytes, err := bytes(blob, nBlob)
		if err != nil {
			return err
		}
		if handle == nil {
			return fault.Argument
		}
		m, err := member.Unseal(stream.Key(sealingKey), contextBytes, blobBytes)
		if err != nil {
			return err
		}
		return number(keep(m), handle)
	})
}

//export fa_member_forget
func fa_member_forget(handle C.int64_t, job C.uint64_t) C.int32_t {
	return with(handle, func(m *member.Member) error { return m.Forget(uint64(job)) })
}

//export fa_member_nonce
func fa_member_nonce(handle C.int64_t, ask *C.uint8_t, n C.int64_t, generation C.uint64_t,
	frozenHash, random, out *C.uint8_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		askBytes, err := bytes(ask, n)
		if err != nil {
			return err
		}
		frozen, err := hash(frozenHash)
		if err != nil {
			return err
		}
		drawn, err := hash(random)
		if err != nil {
			return err
		}
		nonce, err := m.Nonce(askBytes, uint64(generation), frozen, drawn)
		if err != nil {
			return err
		}
		return put32(nonce, out)
	})
}

//export fa_member_tag
func fa_member_tag(handle C.int64_t, job C.uint64_t, data *C.uint8_t, n C.int64_t, out *C.uint8_t) C.int32_t {
	return with(handle, func(m *member.Member) error {
		dataBytes, err := bytes(data, n)
		if err != nil {
			return err
		}
		tag, err := m.Tag(uint64(job), dataBytes)
		if err != nil {
			return err
		}
		return put32(tag, out)
	})
}

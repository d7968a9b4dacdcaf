// Package stream turns keys into pseudorandom words: key derivation, PRF, XOF,
// AES-CTR streams and the samplers over them.
package stream

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"

	"fedanomaly/engine/canonical"
)

// Key is a secret of 32 bytes.
type Key [32]byte

// Fresh draws a key from the operating system.
func Fresh() (k Key) {
	rand.Read(k[:]) // never fails since Go 1.24: the process ends first
	return
}

// Wipe zeroes a key.
func (k *Key) Wipe() { clear(k[:]) }

// Derive is HKDF-SHA-256(secret, label || epoch id): one key for each purpose.
func Derive(secret Key, label string, epoch canonical.Hash) (out Key) {
	info := canonical.Item(canonical.Begin(label), "epoch", epoch[:])
	b, err := hkdf.Key(sha256.New, secret[:], nil, string(info), len(out))
	if err != nil {
		panic(err) // only for an output of more than 8,160 bytes
	}
	copy(out[:], b)
	clear(b)
	return
}

// MAC is HMAC-SHA-256(key, input).
func MAC(key Key, input []byte) (out [32]byte) {
	h := hmac.New(sha256.New, key[:])
	h.Write(input)
	h.Sum(out[:0])
	return
}

// At finishes an input with the index of the ciphertext and of the prime (or
// MAC coefficient). Without the first, differences of ciphertexts would show
// plaintext; without the second, residues of one mask would determine another.
func At(input []byte, ciphertext, prime int) []byte {
	input = canonical.ItemInt(input[:len(input):len(input)], "c", uint64(ciphertext))
	return canonical.ItemInt(input, "prime", uint64(prime))
}

// Public is the stream of the common polynomial a_c for one prime: everybody
// derives it from the manifest's hash, so nobody chooses it.
func Public(manifest canonical.Hash, ciphertext, prime int) *Stream {
	input := canonical.Item(canonical.Begin("a"), "manifest", manifest[:])
	return New(sha256.Sum256(At(input, ciphertext, prime)))
}

// Package fault numbers every failure that leaves the engine.
//
// The numbers are part of the C ABI. None of the texts holds a key, a plaintext
// or a score, and a failed opening has one number whatever its cause: a second
// one would be an oracle.
package fault

// Code is a failure; zero is never used as one.
type Code int32

// The failures, as the ABI numbers them.
const (
	Argument   Code = -1  // an argument is out of range
	Buffer     Code = -2  // a buffer has the wrong size
	Closed     Code = -3  // the object was closed before
	Parameters Code = -4  // no such parameters
	Capacity   Code = -5  // the step does not fit its ciphertexts or its quota
	Manifest   Code = -6  // not a manifest, or not one for this member
	Message    Code = -7  // not a message of this round
	Refused    Code = -8  // the engine refuses what the manifest asks
	Rejected   Code = -9  // a sum did not open
	Sealed     Code = -10 // an envelope or sealed blob does not open
	Order      Code = -11 // the call comes out of order
	Value      Code = -12 // a value does not fit its bits
	Internal   Code = -13 // a fault of the engine itself
	Range      Code = -14 // scores left the range that a batch can hold
)

var texts = map[Code]string{
	Argument:   "an argument is out of range",
	Buffer:     "a buffer has the wrong size",
	Closed:     "the object was closed before",
	Parameters: "no such parameters",
	Capacity:   "the step does not fit its ciphertexts or its quota",
	Manifest:   "not a manifest, or not one for this member and key epoch",
	Message:    "not a message of this round",
	Refused:    "refused",
	Rejected:   "rejected",
	Sealed:     "an envelope or sealed blob does not open",
	Order:      "the call comes out of order",
	Value:      "a value does not fit its bits",
	Internal:   "the engine failed",
	Range:      "scores left the range that a batch can hold",
}

// Error makes a Code an error.
func (c Code) Error() string { return texts[c] }

// Encryption kernels: many features at a time, one in each lane of a vector of 32-bit words.
//
// Lanes are features, not points, so that no stage of a transform shuffles and a twiddle is loaded once for all of
// them. Nothing here branches on, or looks up by, readings, noise or secrets.
#include <stdint.h>

// Features that one call takes at most; `lanes` below.
int fa_encrypt_lanes(int isa);

// x = NTT(x) in [0, q), points in bit-reversed order; x < q < 2^30. roots: powers of a root of -1 in bit-reversed
// order; quotients: floor(root 2^32 / q).
void fa_encrypt_forward(int isa, int points, uint32_t q, const uint32_t *roots, const uint32_t *quotients,
                        uint32_t *x);

// whole [point][lane] = centred binomial noise of `count` columns, from 64-bit words [count][point].
void fa_encrypt_noise(int isa, int points, int count, const uint64_t *words, int32_t *whole);

// whole [point][lane] += rounded scale * (inverse special FFT of `count` columns).
// rows: [event][features], from the first wanted feature on; events beyond `events` count as 0. turns: twiddles as
// pairs, those of the stage with h butterflies at h to 2h; order: bit reversal of points / 2. work: points * lanes / 2
// doubles.
void fa_encrypt_encode(int isa, int points, const double *turns, const int32_t *order, double scale,
                       const double *rows, int events, int features, int count, double *work, int32_t *whole);

// out = NTT(whole) - a s for `count` features. out and a: [limb][point / 16][feature][16], from the first of these
// features on; secret [limb][point] at the points of the NTT, with its quotients, which may be 1 too small.
// |whole| < q. work: points * lanes words.
void fa_encrypt_mask(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *roots,
                     const uint32_t *quotients, const uint32_t *secret, const uint32_t *secret_quotients,
                     const int32_t *whole, const uint32_t *a, int features, int count, uint32_t *work, uint32_t *out);

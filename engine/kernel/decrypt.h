// Decryption kernels: one polynomial at a time, its points side by side in a vector.
//
// Residues are words [limb][point], below their primes: of those that a service sent the caller has checked it.
// Nothing here branches on, or looks up by, residues or secrets.
#include <stdint.h>

// Primes that one number may be put together of.
enum { FA_LIMBS = 6 };

// What puts residues x of `limbs` primes q below 2^30 with the product Q together: sum y Q / q - k Q with
// y = factor x mod q and k = round(sum y / q).
typedef struct {
    uint64_t prime[FA_LIMBS], factor[FA_LIMBS], quotient[FA_LIMBS]; // floor(factor 2^32 / q)
    uint64_t digits[FA_LIMBS + 1][FA_LIMBS]; // of 32 bits, low ones first: Q / q, and behind the last 2^(32 limbs) - Q
    double share[FA_LIMBS];                  // 1 / q
} fa_crt;

// out = x + y s. x or y may be out. secret: at the points of the NTT, with its quotients, which may be 1 too small.
void fa_decrypt_product(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *secret,
                        const uint32_t *secret_quotients, const uint32_t *x, const uint32_t *y, uint32_t *out);

// The answer (S1, S2, U and half as much T1) of a quadratic form, with what is the same in all (S3, T3), opened: out in
// [0, 2q). roots: of the NTT, of which the second is the square root of -1 at the first half of the points.
void fa_decrypt_quadratic(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *roots,
                          const uint32_t *quotients, const uint32_t *secret, const uint32_t *secret_quotients,
                          const uint32_t *answer, const uint32_t *constant, uint32_t *out);

// x = N NTT^-1(x), from [0, 2q) to [0, 2q). roots: those of the NTT with each stage backwards; and in stages that lie
// within a vector, those of `lanes` vectors turned from [vector][root] to [root][vector].
void fa_decrypt_inverse(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *roots,
                        const uint32_t *quotients, uint32_t *x);

// values = unit * (the numbers of least magnitude with these residues, in [0, 2q)). Returns the largest magnitude.
// limbs: 2, 3 or 6.
double fa_decrypt_join(int isa, int limbs, int points, const fa_crt *crt, const uint32_t *x, double unit,
                       double *values);

// values = special FFT, of slots whose imaginary parts follow all real ones; scores = the first `events` of them.
// cosines, sines: of each stage in the order of its blocks, and turned like the roots above in stages that lie within
// a vector of doubles; order: bit reversal of points / 2. Returns the least value, imaginary parts included if paired.
double fa_decrypt_slots(int isa, int points, const double *cosines, const double *sines, const int32_t *order,
                        int paired, double *values, int events, double *scores);

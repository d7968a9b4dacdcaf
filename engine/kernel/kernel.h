// Kernels on residues of 30-bit primes: small-integer matrix products, and sums of products of their results.
//
// Every array is dense. Ciphertexts: uint32 [limb][point / 16][feature][16]. Weights are whole numbers held as
// doubles, [feature][row]. The caller has checked that L1(row) q + q < 2^53, so every product and sum is exact.
#include <stdint.h>

enum { FA_AVX2 = 1, FA_AVX512 = 2 };

// The best instruction set of this processor; 0 where it has neither.
int fa_kernel_best(void);

// y = W x + bias, signed, |y| <= q / 2: int32 [limb][point / 16][row][16]. bias: [2][limb][row], for the first and
// the second half of the points, or null.
void fa_kernel_linear(int isa, int limbs, int points, int features, int rows, const double *weights,
                      const double *primes, const double *bias, const uint32_t *x, int32_t *y);

// With y = W c0 + bias and z (fixed) = W a, and p' the mirrored point of p (conjugation):
// s1 = sum y^2, s2 = sum y z, u(p) = sum y(p) z(p') at all points, t1 = sum y(p) y(p') at the first half.
// mirrored: fixed with the order of each 16 turned round. All results in [0, q).
void fa_kernel_quadratic(int isa, int limbs, int points, int features, int rows, const double *weights,
                         const double *primes, const double *bias, const int32_t *fixed, const int32_t *mirrored,
                         const uint32_t *c0, uint32_t *s1, uint32_t *s2, uint32_t *u, uint32_t *t1);

// 1 if every residue is below its prime.
int fa_kernel_below(int limbs, long words, const double *primes, const uint32_t *x);

// Billions of multiply-adds a second that this core does at best.
double fa_kernel_peak(int isa);

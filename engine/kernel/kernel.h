// Kernels on residues of 30-bit primes: small-integer matrix products, and sums of products of their results.
//
// Every array is dense. Ciphertexts: uint32 [limb][point / 16][feature][16]. Weights are whole numbers held as
// doubles, [feature][row], biases residues plus a multiple of the prime next to 3 2^51. The caller has checked that
// L1(row) q + 2 q < 2^51, so every product is exact, and every sum a whole number between 2^52 and 2^53.
#include <stdint.h>

enum { FA_AVX2 = 1, FA_AVX512 = 2, FA_AMX = 3 };

// The best instruction set of this processor; 0 where it has none. FA_AMX is FA_AVX512 to all but the tiled kernels.
int fa_kernel_best(void);

// Asks the system for the tiles of AMX, for all threads of this process; 0 if it refuses. It does where a thread has a
// stack for signals that is too small for them, and from then on refuses such stacks.
int fa_kernel_ask_for_tiles(void);

// y = W x + bias, signed, |y| <= q / 2 + 1: int32 [limb][point / 16][row][16]. bias: [2][limb][row], for the first and
// the second half of the points.
void fa_kernel_linear(int isa, int limbs, int points, int features, int rows, const double *weights,
                      const double *primes, const double *bias, const uint32_t *x, int32_t *y);

// With y = W c0 + bias and z = W a, and p' the mirrored point of p (conjugation):
// s1 = sum y^2, s2 = sum y z, u(p) = sum y(p) z(p') at all points, t1 = sum y(p) y(p') at the first half.
// fixed: z, in which the 16 points of each block of the second half lie backwards.
// All results in [0, q). Returns 0, and results of no meaning, unless every residue of c0 is below its prime.
int fa_kernel_quadratic(int isa, int limbs, int points, int features, int rows, const double *weights,
                        const double *primes, const double *bias, const int32_t *fixed, const uint32_t *c0,
                        uint32_t *s1, uint32_t *s2, uint32_t *u, uint32_t *t1);

// The same for forms as tiles.h has them: bias signed, residues up to .516 of a prime.
void fa_kernel_tiled_linear(int limbs, int points, int features, int rows, const int8_t *digits, const double *primes,
                            const int32_t *bias, const uint32_t *x, int32_t *y);
int fa_kernel_tiled_quadratic(int limbs, int points, int features, int rows, const int8_t *digits, const double *primes,
                              const int32_t *bias, const int32_t *fixed, const uint32_t *c0, uint32_t *s1, uint32_t *s2,
                              uint32_t *u, uint32_t *t1);

// An output of a circuit of squares, ready for its batches. digits: null, unless a form is ready for the tiles of AMX.
typedef struct {
    int isa, limbs, points, features, rows;
    const double *weights, *primes, *bias;
    const int32_t *fixed;
    const int8_t *digits;
    const int32_t *residues;
} fa_squares;

// The answer of `count` outputs to a batch, one after the other: s1, s2, u and t1. What a service spends its time with,
// so Python calls it without a way through Go, whose scheduler costs a tenth of it. 0, or a number of package fault.
// `outputs` is the address of an fa_squares.
int32_t fa_squares_score(int64_t outputs, int32_t count, const uint32_t *batch, int64_t n_batch, uint32_t *answer,
                         int64_t n_answer);

// Forms whose squares a polynomial may mix: they wait on the stack.
enum { FA_HIDDEN = 256 };

// A score of degree 4: with y = W x + b and u = fold y^2,
//   score = sum (mix u + direct t + shift)^2 + sum (W' x + b')^2 with factors, where t is x or, of_forms, y.
// x = c0 + a s, so everything is a polynomial in the secret s; what depends on a alone is fixed.
typedef struct {
    int limbs, points, features, hidden, rows, plain, of_forms;
    const double *primes;
    const double *weights, *bias;             // of the forms: [feature][hidden], [limb][hidden]
    const double *mix, *direct, *shift;       // [hidden][row], [row], [limb][row]; of shifts what is said of biases
    const int32_t *span;                      // [row][2]: mix is 0 before the one and from the other hidden form on
    const double *plain_weights, *plain_bias; // of the plain squares: [feature][plain], [limb][plain]
    const double *factors;                    // [limb][5]: fold; of rows and of plain squares, each once and doubled
    const int32_t *forms1;                    // 2 fold W a: [limb][point / 16][hidden][16]
    const int32_t *rows1;                     // of s in a row less 3 2^51, in [0, q): [limb][point / 16][row][16]
    const int32_t *rows2;                     // of s^2, twice and signed, likewise
    const int32_t *plain1, *square;           // W' a: [limb][point / 16][plain][16]; what s^2 gets: [limb][point]
} fa_polynomial;

// The coefficients of 1, s, s^2 and s^3 of the score, all in [0, q): [4][limb][point]. Returns 0, and coefficients of no
// meaning, unless every residue of c0 is below its prime.
int fa_kernel_polynomial(int isa, const fa_polynomial *p, const uint32_t *c0, uint32_t *answer);

// A matrix of residues below 2^30, uint32 [limb][point / 16][row][feature][16], times a batch: uint32
// [row][limb][point], in [0, q).
void fa_kernel_product(int isa, int limbs, int points, int features, int rows, const double *primes,
                       const uint32_t *matrix, const uint32_t *x, uint32_t *out);

// 1 if every residue is below its prime.
int fa_kernel_below(int limbs, long words, const double *primes, const uint32_t *x);

// Billions of multiply-adds a second that this core does at best.
double fa_kernel_peak(int isa);

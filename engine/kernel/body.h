// The kernels, included by kernel.c once for each instruction set. One block is 16 points; a vector of doubles holds
// LANES of them.
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define FN(name) JOIN(name, SUFFIX)
#define INLINE __attribute__((target(TARGET), always_inline)) static inline
#define KERNEL __attribute__((target(TARGET), noinline)) static

// A whole double below 2^51 plus this has no room for a fraction, and ends in the low 32 bits of the whole number.
#define MAGIC 0x1.8p52

// `count` rows of W x + bias at TILE_POINTS points, below 2^53 and not reduced. The sums stay in registers: count *
// TILE_POINTS / LANES of them, and the loop over features is nothing but loads and multiply-adds. With each feature, one
// cache line from `ahead` on is fetched: all at a time would wait for each other, and everything for them. They may be
// more than L1 holds, so to L2.
INLINE void FN(sums)(const uint32_t *x, int features, const double *weights, int stride, const double *bias,
                     const uint32_t *ahead, VD *sum, const int count) {
#pragma GCC unroll 16
    for (int j = 0; j < count; j++)
#pragma GCC unroll 4
        for (int v = 0; v < TILE_POINTS / LANES; v++) sum[j * (TILE_POINTS / LANES) + v] = SPLAT(bias[j]);
#pragma GCC unroll 1
    for (int i = 0; i < features; i++) {
        __builtin_prefetch(ahead + i * 16L, 0, 2);
        VD at[TILE_POINTS / LANES];
#pragma GCC unroll 4
        for (int v = 0; v < TILE_POINTS / LANES; v++) at[v] = LOAD_U32(x + i * 16L + v * LANES);
        const double *w = weights + (long)i * stride;
#pragma GCC unroll 16
        for (int j = 0; j < count; j++) {
            const VD weight = SPLAT(w[j]);
#pragma GCC unroll 4
            for (int v = 0; v < TILE_POINTS / LANES; v++) {
                VD *to = sum + j * (TILE_POINTS / LANES) + v;
                *to = FMA(weight, at[v], *to);
            }
        }
    }
}

// sum mod q, signed and in the low word of each lane, for a whole sum between 2^52 and 2^53: it ends in the low 32 bits
// of the whole number, as its quotient plus MAGIC does, and what is left needs no more.
INLINE VI FN(residue)(VD sum, double q, double inverse) {
    const VD times = FMA(sum, SPLAT(inverse), SPLAT(MAGIC));
    return LESS_TIMES(BITS(sum), times, q);
}

// The same sums, reduced to signed residues; those of a row lie 16 words behind those of the row before, or backwards.
INLINE void FN(tile)(const uint32_t *x, int features, const double *weights, int stride, const double *bias, double q,
                     double inverse, const uint32_t *ahead, int32_t *y, const int backwards, const int count) {
    VD sum[TILE_ROWS * 2];
    FN(sums)(x, features, weights, stride, bias, ahead, sum, count);
#pragma GCC unroll 16
    for (int j = 0; j < count; j++) {
        const VI low = FN(residue)(sum[2 * j], q, inverse), high = FN(residue)(sum[2 * j + 1], q, inverse);
        STORE_WORDS(y + j * 16, backwards ? PACK_BACKWARDS(low, high) : PACK(low, high));
    }
}

// Signed residues of `rows` rows at 16 points, or backwards. As much as x is fetched from `ahead` on meanwhile.
INLINE void FN(rows_of)(const uint32_t *x, int features, int rows, const double *weights, int stride, const double *bias,
                        double q, const uint32_t *ahead, int32_t *y, const int backwards) {
    const double inverse = 1.0 / q;
    for (int half = 0; half < 16; half += TILE_POINTS) {
        int32_t *const to = y + (backwards ? 16 - TILE_POINTS - half : half);
        int j = 0;
#define TILE(count)                                                                                          \
    FN(tile)(x + half, features, weights + j, stride, bias + j, q, inverse, half + j ? x : ahead, to + j * 16, \
             backwards, count)
        for (; j + TILE_ROWS <= rows; j += TILE_ROWS) TILE(TILE_ROWS);
        for (; j + 2 <= rows; j += 2) TILE(2);
        for (; j < rows; j++) TILE(1);
#undef TILE
    }
}

KERNEL void FN(block)(const uint32_t *x, int features, int rows, const double *weights, int stride, const double *bias,
                      double q, const uint32_t *ahead, int32_t *y) {
    FN(rows_of)(x, features, rows, weights, stride, bias, q, ahead, y, 0);
}

KERNEL void FN(block_backwards)(const uint32_t *x, int features, int rows, const double *weights, int stride,
                                const double *bias, double q, const uint32_t *ahead, int32_t *y) {
    FN(rows_of)(x, features, rows, weights, stride, bias, q, ahead, y, 1);
}

// sum mod q, signed and in the low word of each lane, for |sum| < 2^63: the quotient is off by less than one half and
// 2^-18, and what is left needs no more than its low word.
INLINE VI FN(rest)(VI sum, double q, double inverse) {
    const VD times = FMA(DOUBLE(sum), SPLAT(inverse), SPLAT(MAGIC));
    return LESS_TIMES(sum, times, q);
}

// Brings signed words into [0, q). As an unsigned number, a negative one is larger than itself plus q.
INLINE VI FN(lift)(VI v, double q) { return MIN_U32(v, ADD_I32(v, SPLAT_I32((int32_t)q))); }

// 16 sums mod q.
INLINE void FN(reduce)(const VI *sum, double q, uint32_t *out) {
#pragma GCC unroll 2
    for (int v = 0; v < 16 / LANES; v += 2) {
        const VI low = FN(rest)(sum[v], q, 1.0 / q), high = FN(rest)(sum[v + 1], q, 1.0 / q);
        STORE_WORDS(out + v * LANES, FN(lift)(PACK(low, high), q));
    }
}

// out[k] = (sum over rows of y b[k], and what is there already unless first) mod q, for `count` of them. At most
// GROUP products below 2^58. Products of every other point are summed apart: so a word is where it is multiplied, or
// a move away. What lies `ahead` words behind b[1], and before b[2], is fetched.
INLINE void FN(dots)(const int32_t *y, const int32_t *const *b, int rows, double q, double inverse, int first,
                     long ahead, uint32_t *const *out, const int count) {
    for (int p = 0; p < 16; p += 2 * LANES) {
        VI even[4], odd[4];
#pragma GCC unroll 4
        for (int k = 0; k < count; k++) {
            const VI sum = first ? ZERO() : LOAD_WORDS(out[k] + p);
            odd[k] = UPPER(sum), even[k] = SUB_I64(sum, LIFT(odd[k]));
        }
        for (int j = p; j < rows * 16 + p; j += 16) {
            const VI x = LOAD_WORDS(y + j), upper = ODD(x);
            if (ahead) __builtin_prefetch(b[1] + j + ahead), __builtin_prefetch(b[2] + j - ahead);
#pragma GCC unroll 4
            for (int k = 0; k < count; k++) {
                const VI other = LOAD_WORDS(b[k] + j);
                even[k] = ADD_I64(even[k], MUL_I32(x, other));
                odd[k] = ADD_I64(odd[k], MUL_I32(upper, ODD(other)));
            }
        }
        // Without this, compilers keep copies of sums through the loop, for which there are no registers.
#pragma GCC unroll 4
        for (int k = 0; k < count; k++) __asm__("" : "+x"(even[k]), "+x"(odd[k]));
#pragma GCC unroll 4
        for (int k = 0; k < count; k++)
            STORE_WORDS(out[k] + p, FN(lift)(ALTERNATE(FN(rest)(even[k], q, inverse), FN(rest)(odd[k], q, inverse)), q));
    }
}

// Those with three and with four others; functions of their own, for their registers.
KERNEL void FN(dots3)(const int32_t *y, const int32_t *b, const int32_t *c, int rows, double q, double inverse, int first,
                      uint32_t *s1, uint32_t *s2, uint32_t *u) {
    FN(dots)(y, (const int32_t *[]){y, b, c}, rows, q, inverse, first, 0, (uint32_t *[]){s1, s2, u}, 3);
}

KERNEL void FN(dots4)(const int32_t *y, const int32_t *b, const int32_t *c, const int32_t *d, int rows, double q,
                      double inverse, int first, long ahead, uint32_t *s1, uint32_t *s2, uint32_t *u, uint32_t *t1) {
    FN(dots)(y, (const int32_t *[]){y, b, c, d}, rows, q, inverse, first, ahead, (uint32_t *[]){s1, s2, u, t1}, 4);
}

KERNEL void FN(linear)(int limbs, int points, int features, int rows, const double *weights, const double *primes,
                       const double *bias, const uint32_t *x, int32_t *y) {
    const int blocks = points / 16;
    for (int l = 0; l < limbs; l++)
        for (int b = 0; b < blocks; b++) {
            const long at = (long)l * blocks + b;
            const double *first = bias + ((b < blocks / 2 ? 0 : limbs) + l) * (long)rows;
            const uint32_t *here = x + at * features * 16;
            FN(block)(here, features, rows, weights, rows, first, primes[l], here + features * 16, y + at * rows * 16);
        }
}

KERNEL int FN(quadratic)(int limbs, int points, int features, int rows, const double *weights, const double *primes,
                         const double *bias, const int32_t *fixed, const uint32_t *c0, uint32_t *s1, uint32_t *s2,
                         uint32_t *u, uint32_t *t1) {
    const int blocks = points / 16;
    // What is mirrored lies backwards, here and in `fixed`: so points that belong together are side by side.
    int32_t here[GROUP * 16] __attribute__((aligned(64))), there[GROUP * 16] __attribute__((aligned(64)));
    int above = 0;
    for (int l = 0; l < limbs; l++) {
        const double q = primes[l], inverse = 1.0 / q;
        for (int b = 0; b < blocks / 2; b++) {
            const int m = blocks - 1 - b;
            const long at = (long)l * blocks + b, mirror = (long)l * blocks + m;
            const uint32_t *x = c0 + at * features * 16, *xm = c0 + mirror * features * 16;
            uint32_t *const s1m = s1 + mirror * 16, *const s2m = s2 + mirror * 16, *const um = u + mirror * 16;
            above |= FN(above)(x, features * 16, q) | FN(above)(xm, features * 16, q);
            for (int g = 0; g < rows; g += GROUP) {
                const int count = rows - g < GROUP ? rows - g : GROUP, first = g == 0;
                const double *low = bias + (long)l * rows + g, *high = low + (long)limbs * rows;
                // The mirrored blocks come in falling order, which no prefetcher foresees. Beyond the last ones nothing
                // is needed, and fetching does no harm.
                FN(block)(x, features, count, weights + g, rows, low, q, g ? x : x + features * 16, here);
                FN(block_backwards)(xm, features, count, weights + g, rows, high, q, g ? xm : xm - features * 16, there);
                const int32_t *z = fixed + (at * rows + g) * 16, *zm = fixed + (mirror * rows + g) * 16;
                FN(dots4)(here, z, zm, there, count, q, inverse, first, rows * 16L, s1 + at * 16, s2 + at * 16,
                          u + at * 16, t1 + ((long)l * (blocks / 2) + b) * 16);
                FN(dots3)(there, zm, z, count, q, inverse, first, s1m, s2m, um);
            }
            FN(turn)(s1m), FN(turn)(s2m), FN(turn)(um);
        }
    }
    return !above;
}

// Not 0 if one of some residues, a multiple of 16, is q or more.
KERNEL int FN(any_above)(const uint32_t *x, long words, double q) { return FN(above)(x, (int)words, q); }

#include "polynomial.h"
#include "product.h"
#if WITH_TILES
#include "tiles.h"
#endif
#undef JOIN_
#undef JOIN
#undef FN
#undef MAGIC
#undef INLINE
#undef KERNEL
#undef WITH_TILES
#undef SUFFIX
#undef TARGET
#undef LANES
#undef TILE_POINTS
#undef TILE_ROWS
#undef PART
#undef VD
#undef VI
#undef SPLAT
#undef LOAD_U32
#undef FMA
#undef FNMA
#undef MUL
#undef PACK
#undef PACK_BACKWARDS
#undef ALTERNATE
#undef ZERO
#undef ADD_I64
#undef SUB_I64
#undef SPLAT_I64
#undef KEEP_POSITIVE
#undef MUL_I32
#undef LOAD_I64
#undef LESS_TIMES
#undef DOUBLE
#undef SPLAT_I32
#undef ADD_I32
#undef MIN_U32
#undef LOAD_WORDS
#undef STORE_WORDS
#undef UPPER
#undef ODD
#undef LIFT
#undef ADD
#undef SUB
#undef FMS
#undef BITS
#undef LOAD_D
#undef STORE_D
#undef LOAD_S32
#undef START

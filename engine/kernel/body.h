// The kernels, included by kernel.c once for each instruction set. One block is 16 points; a vector of doubles holds
// LANES of them.
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define FN(name) JOIN(name, SUFFIX)
#define INLINE __attribute__((target(TARGET), always_inline)) static inline
#define KERNEL __attribute__((target(TARGET), noinline)) static

// `count` rows of W x + bias at TILE_POINTS points, below 2^53 and not reduced. The sums stay in registers: count *
// TILE_POINTS / LANES of them, and the loop over features is nothing but loads and multiply-adds.
INLINE void FN(sums)(const uint32_t *x, int features, const double *weights, int stride, const double *bias, VD *sum,
                     const int count) {
#pragma GCC unroll 16
    for (int j = 0; j < count; j++)
#pragma GCC unroll 4
        for (int v = 0; v < TILE_POINTS / LANES; v++) sum[j * (TILE_POINTS / LANES) + v] = SPLAT(bias ? bias[j] : 0.0);
#pragma GCC unroll 3
    for (int i = 0; i < features; i++) {
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

// The same, reduced to signed residues.
INLINE void FN(tile)(const uint32_t *x, int features, const double *weights, int stride, const double *bias, double q,
                     int32_t *y, const int count) {
    VD sum[count * (TILE_POINTS / LANES)];
    FN(sums)(x, features, weights, stride, bias, sum, count);
    const VD vq = SPLAT(q), inverse = SPLAT(1.0 / q);
#pragma GCC unroll 16
    for (int j = 0; j < count; j++)
#pragma GCC unroll 4
        for (int v = 0; v < TILE_POINTS / LANES; v++) {
            const VD all = sum[j * (TILE_POINTS / LANES) + v];
            STORE_I32(y + j * 16 + v * LANES, FNMA(ROUND(MUL(all, inverse)), vq, all));
        }
}

INLINE const char *FN(fetch)(const char *line, const char *end, long most) {
    for (; most > 0 && line < end; most--, line += 64) __builtin_prefetch(line);
    return line;
}

// Signed residues of `rows` rows at 16 points. `lines` cache lines from `ahead` on are fetched meanwhile, a few before
// each tile: more at a time would wait for each other, and everything for them.
KERNEL void FN(block)(const uint32_t *x, int features, int rows, const double *weights, int stride, const double *bias,
                      double q, int32_t *y, const void *ahead, long lines) {
    const int tiles = 16 / TILE_POINTS * (rows / TILE_ROWS);
    const long each = tiles ? (lines + tiles - 1) / tiles : 0;
    const char *const end = (const char *)ahead + 64 * lines, *line = FN(fetch)(ahead, end, tiles ? 0 : lines);
    for (int half = 0; half < 16; half += TILE_POINTS) {
        int j = 0;
        for (; j + TILE_ROWS <= rows; j += TILE_ROWS) {
            line = FN(fetch)(line, end, each);
            FN(tile)(x + half, features, weights + j, stride, bias ? bias + j : 0, q, y + j * 16 + half, TILE_ROWS);
        }
        for (; j + 2 <= rows; j += 2)
            FN(tile)(x + half, features, weights + j, stride, bias ? bias + j : 0, q, y + j * 16 + half, 2);
        for (; j < rows; j++)
            FN(tile)(x + half, features, weights + j, stride, bias ? bias + j : 0, q, y + j * 16 + half, 1);
    }
}

// out[k] = (sum over rows of a[k] b[k], and what is there already unless first) mod q, for `count` of them. At most
// GROUP products below 2^58. Products of every other point are summed apart: so a word is where it is multiplied, or
// a shift away.
INLINE void FN(dots)(const int32_t *const *a, const int32_t *const *b, int rows, double q, int first,
                     uint32_t *const *out, const int count) {
    for (int p = 0; p < 16; p += 2 * LANES) {
        VI even[count], odd[count];
#pragma GCC unroll 4
        for (int k = 0; k < count; k++) {
            const VI sum = first ? ZERO() : LOAD_WORDS(out[k] + p);
            odd[k] = UPPER(sum), even[k] = SUB_I64(sum, LIFT(odd[k]));
        }
        for (int j = p; j < rows * 16 + p; j += 16)
#pragma GCC unroll 4
            for (int k = 0; k < count; k++) {
                const VI x = LOAD_WORDS(a[k] + j), y = LOAD_WORDS(b[k] + j);
                even[k] = ADD_I64(even[k], MUL_I32(x, y));
                odd[k] = ADD_I64(odd[k], MUL_I32(UPPER(x), UPPER(y)));
            }
#pragma GCC unroll 4
        for (int k = 0; k < count; k++) REDUCE_BOTH(even[k], odd[k], q, out[k] + p);
    }
}

KERNEL void FN(linear)(int limbs, int points, int features, int rows, const double *weights, const double *primes,
                       const double *bias, const uint32_t *x, int32_t *y) {
    const int blocks = points / 16;
    for (int l = 0; l < limbs; l++)
        for (int b = 0; b < blocks; b++) {
            const long at = (long)l * blocks + b;
            const double *first = bias ? bias + ((b < blocks / 2 ? 0 : limbs) + l) * (long)rows : 0;
            FN(block)(x + at * features * 16, features, rows, weights, rows, first, primes[l], y + at * rows * 16,
                      0, 0);
        }
}

KERNEL int FN(quadratic)(int limbs, int points, int features, int rows, const double *weights, const double *primes,
                         const double *bias, const int32_t *fixed, const uint32_t *c0, uint32_t *s1, uint32_t *s2,
                         uint32_t *u, uint32_t *t1) {
    const int blocks = points / 16;
    int32_t here[GROUP * 16] __attribute__((aligned(64))), there[GROUP * 16] __attribute__((aligned(64)));
    int32_t turned[2][GROUP * 16] __attribute__((aligned(64)));
    int above = 0;
    for (int l = 0; l < limbs; l++)
        for (int b = 0; b < blocks / 2; b++) {
            const int m = blocks - 1 - b;
            const long at = (long)l * blocks + b, mirror = (long)l * blocks + m;
            const uint32_t *x = c0 + at * features * 16, *xm = c0 + mirror * features * 16;
            const double q = primes[l];
            // The mirrored blocks come in falling order, which no prefetcher foresees.
            const long ahead = b + 2 < blocks / 2 ? 2 : 0, lines = ahead ? features : 0;
            above |= FN(above)(x, features * 16, q) | FN(above)(xm, features * 16, q);
            for (int g = 0; g < rows; g += GROUP) {
                const int count = rows - g < GROUP ? rows - g : GROUP;
                const double *low = bias + (long)l * rows + g, *high = low + (long)limbs * rows;
                FN(block)(x, features, count, weights + g, rows, low, q, here, x + ahead * features * 16, g ? 0 : lines);
                FN(block)(xm, features, count, weights + g, rows, high, q, there, xm - ahead * features * 16, g ? 0 : lines);
                for (int j = 0; ahead && j < count; j++) {
                    __builtin_prefetch(fixed + ((at + ahead) * rows + g + j) * 16);
                    __builtin_prefetch(fixed + ((mirror - ahead) * rows + g + j) * 16);
                }
                for (int j = 0; j < count * 16; j += 16) FN(turn)(here + j, turned[0] + j), FN(turn)(there + j, turned[1] + j);
                const int32_t *z = fixed + (at * rows + g) * 16, *zm = fixed + (mirror * rows + g) * 16;
                const int first = g == 0;
                uint32_t *const to = t1 + ((long)l * (blocks / 2) + b) * 16;
                // The sums u are the wrong way round until all groups are in.
                FN(dots)((const int32_t *[]){here, here, turned[0], here}, (const int32_t *[]){here, z, zm, turned[1]},
                         count, q, first, (uint32_t *[]){s1 + at * 16, s2 + at * 16, u + at * 16, to}, 4);
                FN(dots)((const int32_t *[]){there, there, turned[1]}, (const int32_t *[]){there, zm, z}, count, q,
                         first, (uint32_t *[]){s1 + mirror * 16, s2 + mirror * 16, u + mirror * 16}, 3);
            }
            FN(turn)((const int32_t *)u + at * 16, (int32_t *)u + at * 16);
            FN(turn)((const int32_t *)u + mirror * 16, (int32_t *)u + mirror * 16);
        }
    return !above;
}

// Not 0 if one of some residues, a multiple of 16, is q or more.
KERNEL int FN(any_above)(const uint32_t *x, long words, double q) { return FN(above)(x, (int)words, q); }

#include "polynomial.h"
#include "product.h"
#undef JOIN_
#undef JOIN
#undef FN
#undef INLINE
#undef KERNEL
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
#undef ROUND
#undef STORE_I32
#undef ZERO
#undef ADD_I64
#undef SUB_I64
#undef SPLAT_I64
#undef KEEP_POSITIVE
#undef MUL_I32
#undef LOAD_I64
#undef REDUCE
#undef REDUCE_BOTH
#undef LOAD_WORDS
#undef UPPER
#undef LIFT
#undef ADD
#undef SUB
#undef FMS
#undef BITS
#undef LOAD_D
#undef STORE_D
#undef LOAD_S32
#undef STORE_MOD

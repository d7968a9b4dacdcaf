// The encryption kernels, included by encrypt.c once for each instruction set. A row is one vector: the same point of
// LANES features, or of HALF features where it holds doubles.
//
// Residues are lazy, in [0, 4q) with 4q < 2^32. Source: Harvey, Faster arithmetic for number-theoretic transforms
// (2014).
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define FN(name) JOIN(name, SUFFIX)
#define INLINE __attribute__((target(TARGET), always_inline)) static inline
#define KERNEL __attribute__((target(TARGET), noinline)) static
#define HALF (LANES / 2)

// x w mod q in [0, 2q), for any x.
INLINE VU FN(product)(VU x, VU w, VU high, VU q) { return SUB(MUL_LOW(x, w), MUL_LOW(high, q)); }

INLINE void FN(butterfly)(VU *u, VU *v, VU w, VU quotient, VU q) {
    const VU twice = ADD(q, q), low = MIN(*u, SUB(*u, twice));
    const VU turned = FN(product)(*v, w, MUL_HIGH_SPLAT(*v, quotient), q);
    *u = ADD(low, turned);
    *v = ADD(SUB(low, turned), twice);
}

// Brings the signed into [0, q) and leaves what is there already.
INLINE VU FN(lift)(VU x, VU q) { return MIN(x, ADD(x, q)); }

// One stage: the first of an odd number.
INLINE void FN(stage)(const uint32_t *in, uint32_t *x, long rows, const uint32_t *roots, const uint32_t *quotients,
                      VU q) {
    const VU w = SPLAT(roots[1]), p = SPLAT(quotients[1]);
    for (long j = 0; j < rows / 2; j++) {
        VU u = FN(lift)(LOAD(in + j * LANES), q), v = FN(lift)(LOAD(in + (j + rows / 2) * LANES), q);
        FN(butterfly)(&u, &v, w, p, q);
        STORE(x + j * LANES, u);
        STORE(x + (j + rows / 2) * LANES, v);
    }
}

// Two stages at once, which halves the traffic: blocks [from, to) of m, each of rows / m rows.
INLINE void FN(stages)(const uint32_t *in, uint32_t *x, long rows, int m, int from, int to, const uint32_t *roots,
                       const uint32_t *quotients, VU q, const int lift) {
    const long quarter = rows / m / 4 * LANES;
    for (int i = from; i < to; i++) {
        const VU w1 = SPLAT(roots[m + i]), p1 = SPLAT(quotients[m + i]);
        const VU w2 = SPLAT(roots[2 * (m + i)]), p2 = SPLAT(quotients[2 * (m + i)]);
        const VU w3 = SPLAT(roots[2 * (m + i) + 1]), p3 = SPLAT(quotients[2 * (m + i) + 1]);
        for (long j = 4 * i * quarter; j < (4 * i + 1) * quarter; j += LANES) {
            VU a = LOAD(in + j), b = LOAD(in + j + quarter);
            VU c = LOAD(in + j + 2 * quarter), d = LOAD(in + j + 3 * quarter);
            if (lift) a = FN(lift)(a, q), b = FN(lift)(b, q), c = FN(lift)(c, q), d = FN(lift)(d, q);
            FN(butterfly)(&a, &c, w1, p1, q);
            FN(butterfly)(&b, &d, w1, p1, q);
            FN(butterfly)(&a, &b, w2, p2, q);
            FN(butterfly)(&c, &d, w3, p3, q);
            STORE(x + j, a);
            STORE(x + j + quarter, b);
            STORE(x + j + 2 * quarter, c);
            STORE(x + j + 3 * quarter, d);
        }
    }
}

// The first stages, over all rows. Returns the number of blocks that are left: independent, each within L1.
INLINE int FN(split)(const uint32_t *in, uint32_t *x, long rows, const uint32_t *roots, const uint32_t *quotients,
                     VU q) {
    const int odd = __builtin_ctzl(rows) & 1;
    if (odd) {
        FN(stage)(in, x, rows, roots, quotients, q);
        FN(stages)(x, x, rows, 2, 0, 2, roots, quotients, q, 0);
    } else {
        FN(stages)(in, x, rows, 1, 0, 1, roots, quotients, q, 1);
    }
    FN(stages)(x, x, rows, odd ? 8 : 4, 0, odd ? 8 : 4, roots, quotients, q, 0);
    return odd ? 32 : 16;
}

// The other stages of one of these blocks.
INLINE void FN(finish)(uint32_t *x, long rows, int blocks, int block, const uint32_t *roots,
                       const uint32_t *quotients, VU q) {
    for (int k = 1; (long)k * blocks < rows; k *= 4)
        FN(stages)(x, x, rows, k * blocks, k * block, k * (block + 1), roots, quotients, q, 0);
}

KERNEL void FN(forward)(int points, uint32_t q, const uint32_t *roots, const uint32_t *quotients, uint32_t *x) {
    const VU prime = SPLAT(q);
    const long rows = points / LANES;
    const int blocks = FN(split)(x, x, rows, roots, quotients, prime);
    for (int b = 0; b < blocks; b++) FN(finish)(x, rows, blocks, b, roots, quotients, prime);
    // The last few stages lie within a row; one polynomial is not worth shuffles.
    for (long row = 0; row < rows; row++) {
        uint32_t *v = x + row * LANES;
#pragma GCC unroll 4
        for (int t = LANES / 2, m = 1; t > 0; t /= 2, m *= 2)
#pragma GCC unroll 8
            for (int i = 0; i < m; i++)
#pragma GCC unroll 8
                for (int j = 2 * i * t; j < (2 * i + 1) * t; j++) {
                    const uint32_t w = roots[m * (rows + row) + i], high = quotients[m * (rows + row) + i];
                    const uint32_t turned = v[j + t] * w - (uint32_t)((uint64_t)v[j + t] * high >> 32) * q;
                    const uint32_t less = v[j] - 2 * q, u = less + (2 * q & (uint32_t)((int32_t)less >> 31));
                    v[j] = u + turned;
                    v[j + t] = u - turned + 2 * q;
                }
    }
    for (int j = 0; j < points; j += LANES) {
        const VU v = LOAD(x + j), half = MIN(v, SUB(v, ADD(prime, prime)));
        STORE(x + j, MIN(half, SUB(half, prime)));
    }
}

// out = x - a s at the points of one block, all features of which lie side by side.
INLINE void FN(hide)(const uint32_t *x, const uint32_t *s, const uint32_t *sq, const uint32_t *a, int count, VU q,
                     uint32_t *out) {
    const VU twice = ADD(q, q);
    for (int part = 0; part < 16; part += LANES) {
        VU v[LANES];
#pragma GCC unroll 16
        for (int k = 0; k < LANES; k++) v[k] = LOAD(x + (part + k) * LANES);
        TRANSPOSE(v);
        const VU secret = LOAD(s + part), high = LOAD(sq + part);
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
            if (i == count) break;
            const VU at = LOAD(a + i * 16 + part);
            VU as = FN(product)(at, secret, MUL_HIGH(at, high), q), m = MIN(v[i], SUB(v[i], twice));
            as = MIN(as, SUB(as, q));
            m = MIN(m, SUB(m, q));
            STORE(out + i * 16 + part, FN(lift)(SUB(m, as), q));
        }
    }
}

KERNEL void FN(mask)(int limbs, int points, const uint32_t *primes, const uint32_t *roots, const uint32_t *quotients,
                     const uint32_t *secret, const uint32_t *secret_quotients, const int32_t *whole,
                     const uint32_t *a, int features, int count, uint32_t *work, uint32_t *out) {
    for (int l = 0; l < limbs; l++) {
        const long first = (long)l * points;
        const VU q = SPLAT(primes[l]);
        const uint32_t *w = roots + first, *p = quotients + first;
        const int blocks = FN(split)((const uint32_t *)whole, work, points, w, p, q);
        for (int b = 0; b < blocks; b++) {
            FN(finish)(work, points, blocks, b, w, p, q);
            for (long n = (long)b * points / blocks; n < (long)(b + 1) * points / blocks; n += 16) {
                const long at = (first + n) * features, ahead = at + 64L * features;
                // Blocks lie further apart than a prefetcher looks.
                for (int i = 0; i < count && ahead < (long)limbs * points * features; i++) {
                    __builtin_prefetch(a + ahead + i * 16);
                    __builtin_prefetch(out + ahead + i * 16, 1);
                }
                FN(hide)(work + n * LANES, secret + first + n, secret_quotients + first + n, a + at, count, q, out + at);
            }
        }
    }
}

// One butterfly of the inverse FFT, without fused multiply-adds: Go on amd64 has none, and the bits shall be the same.
INLINE void FN(turn)(VD *a, VD *b, const double *turn) {
    const VD re = SUB_D(a[0], b[0]), im = SUB_D(a[1], b[1]);
    const VD c = SPLAT_D(turn[0]), s = SPLAT_D(turn[1]);
    a[0] = ADD_D(a[0], b[0]);
    a[1] = ADD_D(a[1], b[1]);
    b[0] = SUB_D(MUL_D(re, c), MUL_D(im, s));
    b[1] = ADD_D(MUL_D(re, s), MUL_D(im, c));
}

// Where the values of an FFT come from: readings at first, then the work space. Slot i is row i, and as imaginary
// part row i + slots; in the work space the two lie side by side.
typedef struct {
    const double *rows;
    long features;
    int events;
    VM wanted;
} FN(readings);

INLINE VD FN(reading)(const FN(readings) * from, long event) {
    return event < from->events ? LOAD_WANTED(from->rows + event * from->features, from->wanted) : ZERO_D();
}

INLINE void FN(get)(const FN(readings) * from, const double *z, long slots, long i, VD *value) {
    value[0] = from ? FN(reading)(from, i) : LOAD_D(z + 2 * i * HALF);
    value[1] = from ? FN(reading)(from, i + slots) : LOAD_D(z + (2 * i + 1) * HALF);
}

INLINE void FN(put)(double *z, long i, const VD *value) {
    STORE_D(z + 2 * i * HALF, value[0]);
    STORE_D(z + (2 * i + 1) * HALF, value[1]);
}

INLINE void FN(fold)(const FN(readings) * from, double *z, long slots, const double *turns) {
    for (long j = 0; j < slots / 2; j++) {
        VD a[2], b[2];
        FN(get)(from, z, slots, j, a);
        FN(get)(from, z, slots, j + slots / 2, b);
        FN(turn)(a, b, turns + slots + 2 * j);
        FN(put)(z, j, a);
        FN(put)(z, j + slots / 2, b);
    }
}

// Two stages of blocks [from_block, to_block), each of `length` slots.
INLINE void FN(folds)(const FN(readings) * from, double *z, long slots, long length, int from_block, int to_block,
                      const double *turns) {
    const long quarter = length / 4;
    const double *outer = turns + length, *inner = turns + length / 2;
    for (int i = from_block; i < to_block; i++)
        for (long j = 0; j < quarter; j++) {
            const long at = i * length + j;
            VD a[2], b[2], c[2], d[2];
            FN(get)(from, z, slots, at, a);
            FN(get)(from, z, slots, at + quarter, b);
            FN(get)(from, z, slots, at + 2 * quarter, c);
            FN(get)(from, z, slots, at + 3 * quarter, d);
            FN(turn)(a, c, outer + 2 * j);
            FN(turn)(b, d, outer + 2 * (j + quarter));
            FN(turn)(a, b, inner + 2 * j);
            FN(turn)(c, d, inner + 2 * j);
            FN(put)(z, at, a);
            FN(put)(z, at + quarter, b);
            FN(put)(z, at + 2 * quarter, c);
            FN(put)(z, at + 3 * quarter, d);
        }
}

KERNEL void FN(inverse_fft)(const FN(readings) * from, double *z, long slots, const double *turns) {
    const int odd = __builtin_ctzl(slots) & 1;
    if (odd) {
        FN(fold)(from, z, slots, turns);
        FN(folds)(0, z, slots, slots / 2, 0, 2, turns);
    } else {
        FN(folds)(from, z, slots, slots, 0, 1, turns);
    }
    int blocks = odd ? 8 : 4;
    FN(folds)(0, z, slots, slots / blocks, 0, blocks, turns);
    blocks *= 4;
    for (int b = 0; b < blocks; b++)
        for (int k = 1; (long)k * blocks < slots; k *= 4)
            FN(folds)(0, z, slots, slots / blocks / k, k * b, k * (b + 1), turns);
}

// The ones in each 64 bits. The table is a register, permuted in the same time whatever by.
INLINE VU FN(ones)(VU v) {
    const VU nibble = SPLAT(0x0f0f0f0f), counts = TABLE(0x0302020102010100, 0x0403030203020201);
    return SUM_BYTES(ADD_BYTES(LOOKUP(counts, AND(v, nibble)), LOOKUP(counts, AND(RIGHT(v, 4), nibble))));
}

// 21 fair bits minus 21 others: the ones in the first and the zeros in the second, minus 21.
KERNEL void FN(noise)(int points, int count, const uint64_t *words, int32_t *whole) {
    const VU second = SPLAT_64(((1L << 21) - 1) << 21), used = SPLAT_64((1L << 42) - 1);
    for (long n = 0; n < points; n += LANES) {
        VU v[LANES];
        for (int i = 0; i < LANES; i++) {
            // Lanes without a feature repeat the last, which does no harm.
            const uint64_t *from = words + (long)(i < count ? i : count - 1) * points + n;
            const VU low = FN(ones)(AND(XOR(LOAD(from), second), used));
            const VU high = FN(ones)(AND(XOR(LOAD(from + HALF), second), used));
            v[i] = ADD(low, LEFT(high, 32));
        }
        TRANSPOSE(v);
#pragma GCC unroll 16
        for (int k = 0; k < LANES; k++)
            STORE(whole + (n + k / 2 + k % 2 * HALF) * LANES, SUB(v[k], SPLAT(21)));
    }
}

KERNEL void FN(encode)(int points, const double *turns, const int32_t *order, double scale, const double *rows,
                       int events, int features, int count, double *work, int32_t *whole) {
    const long slots = points / 2;
    const VD times = SPLAT_D(scale);
    for (int first = 0; first < count; first += HALF) {
        const int some = count - first < HALF ? count - first : HALF;
        const FN(readings) from = {rows + first, features, events, WANTED(some)};
        FN(inverse_fft)(&from, work, slots, turns);
        for (long i = 0; i < slots; i++) {
            int32_t *re = whole + i * LANES + first, *im = re + slots * LANES;
            ADD_ROUNDED(re, MUL_D(LOAD_D(work + 2L * order[i] * HALF), times));
            ADD_ROUNDED(im, MUL_D(LOAD_D(work + (2L * order[i] + 1) * HALF), times));
        }
    }
}
#include "decrypt_body.h"
#undef JOIN_
#undef JOIN
#undef FN
#undef INLINE
#undef KERNEL
#undef HALF
#undef SUFFIX
#undef TARGET
#undef LANES
#undef VU
#undef VD
#undef VM
#undef ADD
#undef SUB
#undef MIN
#undef SPLAT
#undef LOAD
#undef STORE
#undef MUL_LOW
#undef MUL_HIGH
#undef MUL_HIGH_SPLAT
#undef TRANSPOSE
#undef SPLAT_64
#undef AND
#undef XOR
#undef RIGHT
#undef LEFT
#undef TABLE
#undef LOOKUP
#undef ADD_BYTES
#undef SUM_BYTES
#undef ADD_D
#undef SUB_D
#undef MUL_D
#undef SPLAT_D
#undef LOAD_D
#undef STORE_D
#undef ZERO_D
#undef MIN_D
#undef MAX_D
#undef AS_D
#undef AS_U
#undef TRANSPOSE_D
#undef ADD_64
#undef SUB_64
#undef MUL_64
#undef LOAD_64
#undef WHOLE_64
#undef IS_0
#undef REVERSE
#undef WANTED
#undef LOAD_WANTED
#undef ADD_ROUNDED

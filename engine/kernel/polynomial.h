// Scores of degree 4, included by body.h once for each instruction set. Signed residues are whole doubles here: a
// product of two keeps its low part in a second double, so the reduction needs no 64-bit integers, which AVX2 lacks.

// v mod q with at most q / 2 of magnitude, give or take one, for |v| < 2^53.
INLINE VD FN(centre)(VD v, VD q, VD inverse) {
    return FNMA(SUB(FMA(v, inverse, SPLAT(MAGIC)), SPLAT(MAGIC)), q, v);
}

// a b mod q for |a b| < 2^62: a double is off by at most 2^8 and the other one is that error, exactly. The rest of the
// division is whole and short, so it is exact as well; at most q / 2 + 2^9.
INLINE VD FN(times)(VD a, VD b, VD q, VD inverse) {
    const VD high = MUL(a, b), low = FMS(a, b, high);
    return ADD(FN(centre)(high, q, inverse), low);
}

// A limb's prime, and in every lane.
typedef struct {
    double prime, inverse_of_prime;
    VD q, inverse;
} FN(modulus);

// y, u = fold y^2 and v, the part of u that goes with s, of `count` forms from j on at TILE_POINTS points.
INLINE void FN(forms)(const fa_polynomial *p, int limb, FN(modulus) m, const uint32_t *x, const int32_t *forms1, int j,
                      double *y, double *u, double *v, const int of_forms, const int count) {
    VD sum[TILE_ROWS * (TILE_POINTS / LANES)];
    FN(sums)(x, p->features, p->weights + j, p->hidden, p->bias + (long)limb * p->hidden + j,
             j ? x : x + p->features * 16L, sum, count);
    const VD fold = SPLAT(p->factors[limb * 5]);
#pragma GCC unroll 16
    for (int k = 0; k < count; k++)
#pragma GCC unroll 4
        for (int n = 0; n < TILE_POINTS / LANES; n++) {
            const int at = (j + k) * 16 + n * LANES;
            const VD form = FN(centre)(sum[k * (TILE_POINTS / LANES) + n], m.q, m.inverse);
            if (of_forms) STORE_D(y + at, form);
            __builtin_prefetch(forms1 + p->hidden * 16L + at);
            STORE_D(u + at, FN(times)(FN(times)(form, fold, m.q, m.inverse), form, m.q, m.inverse));
            STORE_D(v + at, FN(times)(form, LOAD_S32(forms1 + at), m.q, m.inverse));
        }
}

// Rows that are mixed at a time.
#define ROWS 5

// Adds the products of `count` rows from i on at PART points: r0 r0, r0 r1, r1 r1, r0 r2, r1 r2. Both parts of a row
// are summed together, so a weight is fetched once for the two. Hidden forms outside [from, to) have no weight.
INLINE void FN(rows)(const fa_polynomial *p, int limb, FN(modulus) m, const uint32_t *x, const double *y,
                     const double *u, const double *v, const int32_t *rows1, const int32_t *rows2, int i, int from,
                     int to, VI (*product)[16 / LANES], const int of_forms, const int count) {
    VD r0[ROWS * (PART / LANES)], r1[ROWS * (PART / LANES)];
#pragma GCC unroll 8
    for (int k = 0; k < count; k++) {
        const VD direct = SPLAT(p->direct[i + k]), shift = SPLAT(p->shift[(long)limb * p->rows + i + k]);
#pragma GCC unroll 4
        for (int n = 0; n < PART / LANES; n++) {
            const int at = (i + k) * 16 + n * LANES;
            r0[k * (PART / LANES) + n] = FMA(direct, of_forms ? LOAD_D(y + at) : LOAD_U32(x + at), shift);
            r1[k * (PART / LANES) + n] = START(rows1 + at);
        }
    }
    for (int j = from; j < to; j++) {
        VD uj[PART / LANES], vj[PART / LANES];
#pragma GCC unroll 4
        for (int n = 0; n < PART / LANES; n++) {
            uj[n] = LOAD_D(u + j * 16 + n * LANES);
            vj[n] = LOAD_D(v + j * 16 + n * LANES);
        }
        const double *mix = p->mix + (long)j * p->rows + i;
#pragma GCC unroll 8
        for (int k = 0; k < count; k++) {
            const VD weight = SPLAT(mix[k]);
#pragma GCC unroll 4
            for (int n = 0; n < PART / LANES; n++) {
                const int at = k * (PART / LANES) + n;
                r0[at] = FMA(weight, uj[n], r0[at]);
                r1[at] = FMA(weight, vj[n], r1[at]);
            }
        }
    }
#pragma GCC unroll 4
    for (int n = 0; n < PART / LANES; n++) {
        VI sum[5];
#pragma GCC unroll 5
        for (int k = 0; k < 5; k++) sum[k] = product[k][n];
#pragma GCC unroll 8
        for (int k = 0; k < count; k++) {
            const VI zero = FN(residue)(r0[k * (PART / LANES) + n], m.prime, m.inverse_of_prime);
            const VI one = FN(residue)(r1[k * (PART / LANES) + n], m.prime, m.inverse_of_prime);
            const VI two = LOAD_I64(rows2 + (i + k) * 16 + n * LANES);
            sum[0] = ADD_I64(sum[0], MUL_I32(zero, zero));
            sum[1] = ADD_I64(sum[1], MUL_I32(zero, one));
            sum[2] = ADD_I64(sum[2], MUL_I32(one, one));
            sum[3] = ADD_I64(sum[3], MUL_I32(zero, two));
            sum[4] = ADD_I64(sum[4], MUL_I32(one, two));
            // Without this, compilers add in another order, for which there are no registers.
#pragma GCC unroll 5
            for (int i = 0; i < 5; i++) __asm__("" : "+v"(sum[i]));
        }
#pragma GCC unroll 5
        for (int k = 0; k < 5; k++) product[k][n] = sum[k];
    }
}

// The same at all 16 points of a block. What the next block needs lies right behind what this one does.
INLINE void FN(tile_of_rows)(const fa_polynomial *p, int limb, FN(modulus) m, const uint32_t *x, const double *y,
                             const double *u, const double *v, const int32_t *rows1, const int32_t *rows2, int i,
                             VI (*product)[16 / LANES], const int of_forms, const int count) {
    int from = p->hidden, to = 0;
    for (int k = 0; k < count; k++) {
        const int32_t *span = p->span + 2 * (i + k);
        from = span[0] < from ? span[0] : from;
        to = span[1] > to ? span[1] : to;
        __builtin_prefetch(rows1 + (p->rows + i + k) * 16L);
        __builtin_prefetch(rows2 + (p->rows + i + k) * 16L);
    }
    for (int h = 0; h < 16; h += PART)
        FN(rows)(p, limb, m, x + h, y + h, u + h, v + h, rows1 + h, rows2 + h, i, from, to,
                 (VI(*)[16 / LANES])(product[0] + h / LANES), of_forms, count);
}

// Adds the products of `count` plain forms from k on at TILE_POINTS points: z0 z0, z0 z1.
INLINE void FN(plain)(const fa_polynomial *p, int limb, FN(modulus) m, const uint32_t *x, const int32_t *plain1, int k,
                      VI (*product)[16 / LANES], const int count) {
    VD sum[TILE_ROWS * (TILE_POINTS / LANES)];
    FN(sums)(x, p->features, p->plain_weights + k, p->plain, p->plain_bias + (long)limb * p->plain + k, x, sum, count);
#pragma GCC unroll 16
    for (int i = 0; i < count; i++)
#pragma GCC unroll 4
        for (int n = 0; n < TILE_POINTS / LANES; n++) {
            const VI zero = FN(residue)(sum[i * (TILE_POINTS / LANES) + n], m.prime, m.inverse_of_prime);
            product[0][n] = ADD_I64(product[0][n], MUL_I32(zero, zero));
            product[1][n] = ADD_I64(product[1][n], MUL_I32(zero, LOAD_I64(plain1 + (k + i) * 16 + n * LANES)));
        }
}

// Starts `count` sums at what was reduced before, if anything was.
INLINE void FN(resume)(VI (*product)[16 / LANES], uint32_t (*sum)[16], int first, const int count) {
    for (int k = 0; k < count; k++)
        for (int n = 0; n < 16 / LANES; n++)
            product[k][n] = first ? ZERO() : LOAD_I64((const int32_t *)sum[k] + n * LANES);
}

// Calls `call` for `most` rows at a time, then for two, then for one.
#define EACH_TILE(row, first, end, most, call)                  \
    do {                                                        \
        int row = first;                                        \
        for (; row + (most) <= (end); row += (most)) call(most); \
        for (; row + 2 <= (end); row += 2) call(2);             \
        for (; row < (end); row++) call(1);                     \
    } while (0)

INLINE int FN(score)(const fa_polynomial *given, const uint32_t *c0, uint32_t *answer, const int of_forms) {
    double forms[3 * FA_HIDDEN * 16] __attribute__((aligned(64)));
    const fa_polynomial own = *given, *p = &own; // nobody else writes to a copy, so its fields stay in registers
    const int blocks = p->points / 16;
    const long all = (long)p->limbs * p->points;
    int above = 0;
    double *u = forms, *v = u + p->hidden * 16, *y = v + p->hidden * 16; // side by side, in as few sets of the cache
    for (int l = 0; l < p->limbs; l++)
        for (int b = 0; b < blocks; b++) {
            const long at = (long)l * blocks + b;
            const double q = p->primes[l], *f = p->factors + l * 5;
            const FN(modulus) m = {q, 1.0 / q, SPLAT(q), SPLAT(1.0 / q)};
            const VD origin = SPLAT(q * (double)(int64_t)(MAGIC / q));
            const uint32_t *x = c0 + at * p->features * 16;
            const int32_t *forms1 = p->forms1 + at * p->hidden * 16, *plain1 = p->plain1 + at * p->plain * 16;
            const int32_t *rows1 = p->rows1 + at * p->rows * 16, *rows2 = p->rows2 + at * p->rows * 16;
            uint32_t sum[7][16];
            VI product[5][16 / LANES];
            above |= FN(above)(x, p->features * 16, q);
            for (int h = 0; h < 16; h += TILE_POINTS) {
#define CALL(count) FN(forms)(p, l, m, x + h, forms1 + h, j, y + h, u + h, v + h, of_forms, count)
                EACH_TILE(j, 0, p->hidden, TILE_ROWS, CALL);
#undef CALL
            }
            for (int g = 0; g < p->rows; g += GROUP) {
                const int end = p->rows - g < GROUP ? p->rows : g + GROUP;
                FN(resume)(product, sum, g == 0, 5);
#define CALL(count) FN(tile_of_rows)(p, l, m, x, y, u, v, rows1, rows2, i, product, of_forms, count)
                EACH_TILE(i, g, end, ROWS, CALL);
#undef CALL
                for (int k = 0; k < 5; k++) FN(reduce)(product[k], q, sum[k]);
            }
            if (p->plain) memset(sum + 5, 0, sizeof(sum[5]) * 2);
            for (int g = 0; g < p->plain; g += GROUP) {
                const int end = p->plain - g < GROUP ? p->plain : g + GROUP;
                FN(resume)(product, sum + 5, 0, 2);
                for (int h = 0; h < 16; h += TILE_POINTS) {
#define CALL(count) FN(plain)(p, l, m, x + h, plain1 + h, k, (VI(*)[16 / LANES])(product[0] + h / LANES), count)
                    EACH_TILE(k, g, end, TILE_ROWS, CALL);
#undef CALL
                }
                for (int k = 0; k < 2; k++) FN(reduce)(product[k], q, sum[5 + k]);
            }
            VI part[4][16 / LANES];
            for (int n = 0; n < 16 / LANES; n++) {
#define SUM(k) LOAD_U32(sum[k] + n * LANES)
#define TIMES(value, factor) FN(times)(value, SPLAT(f[factor]), m.q, m.inverse)
                VD out[4] = {TIMES(SUM(0), 1), TIMES(SUM(1), 2), TIMES(ADD(SUM(2), SUM(3)), 1), TIMES(SUM(4), 1)};
                if (p->plain) out[0] = ADD(out[0], TIMES(SUM(5), 3)), out[1] = ADD(out[1], TIMES(SUM(6), 4));
                out[2] = ADD(out[2], LOAD_S32(p->square + at * 16 + n * LANES));
                for (int k = 0; k < 4; k++) part[k][n] = FN(residue)(ADD(out[k], origin), q, 1.0 / q);
#undef SUM
#undef TIMES
            }
            for (int k = 0; k < 4; k++)
                for (int n = 0; n < 16 / LANES; n += 2)
                    STORE_WORDS(answer + k * all + at * 16 + n * LANES, FN(lift)(PACK(part[k][n], part[k][n + 1]), q));
        }
    return !above;
}

// Compiled for either t: the choice would cost as much as the multiplication.
KERNEL int FN(polynomial)(const fa_polynomial *p, const uint32_t *c0, uint32_t *answer) {
    return p->of_forms ? FN(score)(p, c0, answer, 1) : FN(score)(p, c0, answer, 0);
}
#undef EACH_TILE
#undef ROWS

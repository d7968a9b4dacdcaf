// Products of a matrix of residues with a batch, included by body.h once for each instruction set.

// Products of residues below 2^30 that are added to a sum below FOLD q^2 before it is brought there again.
#define FOLD 8

// out = sum over features of a b at 16 points.
INLINE void FN(residues)(const int32_t *a, const int32_t *b, int features, double q, uint32_t *out) {
    const VI most = SPLAT_I64((int64_t)q * (int64_t)q * FOLD);
    VI sum[16 / LANES];
#pragma GCC unroll 4
    for (int v = 0; v < 16 / LANES; v++) sum[v] = ZERO();
    for (int first = 0; first < features; first += FOLD) {
        const int end = features - first < FOLD ? features : first + FOLD;
        for (int i = first; i < end; i++)
#pragma GCC unroll 4
            for (int v = 0; v < 16 / LANES; v++)
                sum[v] = ADD_I64(sum[v], MUL_I32(LOAD_I64(a + i * 16L + v * LANES), LOAD_I64(b + i * 16L + v * LANES)));
        // A sum below most gives a negative number, and stays as it was.
#pragma GCC unroll 4
        for (int v = 0; v < 16 / LANES; v++) sum[v] = KEEP_POSITIVE(SUB_I64(sum[v], most), sum[v]);
    }
    FN(reduce)(sum, q, out);
}

KERNEL void FN(product)(int limbs, int points, int features, int rows, const double *primes, const uint32_t *matrix,
                        const uint32_t *x, uint32_t *out) {
    const long blocks = points / 16, all = (long)limbs * blocks;
    for (long at = 0; at < all; at++)
        for (int j = 0; j < rows; j++)
            FN(residues)((const int32_t *)matrix + (at * rows + j) * features * 16,
                         (const int32_t *)x + at * features * 16, features, primes[at / blocks],
                         out + (j * all + at) * 16);
}
#undef FOLD

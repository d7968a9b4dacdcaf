// The decryption kernels, included by encrypt_body.h once for each instruction set. A vector is LANES points of a
// polynomial, or HALF where it holds doubles or words of 64 bits.

// Takes m off where x has as much.
INLINE VU FN(less)(VU x, VU m) { return MIN(x, SUB(x, m)); }

// x s in [0, 2q), for x in [0, 2q).
INLINE VU FN(hidden)(VU x, const uint32_t *s, const uint32_t *sq, VU q) {
    return FN(product)(x, LOAD(s), MUL_HIGH(x, LOAD(sq)), q);
}

KERNEL void FN(add_product)(int limbs, int points, const uint32_t *primes, const uint32_t *s, const uint32_t *sq,
                            const uint32_t *x, const uint32_t *y, uint32_t *out) {
    for (int l = 0; l < limbs; l++) {
        const VU q = SPLAT(primes[l]), twice = ADD(q, q);
        for (long n = (long)l * points; n < (l + 1L) * points; n += LANES) {
            const VU sum = ADD(LOAD(x + n), FN(hidden)(LOAD(y + n), s + n, sq + n, q));
            STORE(out + n, FN(less)(FN(less)(sum, twice), q));
        }
    }
}

// s1 + 2 s2 s + s3 s^2 in [0, 2q).
INLINE VU FN(square)(const uint32_t *s1, const uint32_t *s2, const uint32_t *s3, const uint32_t *s, const uint32_t *sq,
                     VU q) {
    const VU twice = ADD(q, q), mixed = LOAD(s2);
    const VU v = FN(less)(ADD(FN(hidden)(LOAD(s3), s, sq, q), ADD(mixed, mixed)), twice);
    return FN(less)(ADD(LOAD(s1), FN(hidden)(v, s, sq, q)), twice);
}

// Points p and, backwards, their mirrored ones m.
KERNEL void FN(quadratic)(int limbs, int points, const uint32_t *primes, const uint32_t *roots,
                          const uint32_t *quotients, const uint32_t *secret, const uint32_t *secret_quotients,
                          const uint32_t *answer, const uint32_t *constant, uint32_t *out) {
    const long all = (long)limbs * points;
    const uint32_t *s1 = answer, *s2 = s1 + all, *u = s2 + all, *t1 = u + all, *s3 = constant, *t3 = s3 + all;
    for (int l = 0; l < limbs; l++) {
        const VU q = SPLAT(primes[l]), twice = ADD(q, q);
        const VU root = SPLAT(roots[(long)l * points + 1]), high = SPLAT(quotients[(long)l * points + 1]);
        for (long n = 0; n < points / 2; n += LANES) {
            const long p = (long)l * points + n, m = (l + 1L) * points - LANES - n, half = (long)l * points / 2 + n;
            const uint32_t *s = secret + p, *sq = secret_quotients + p;
            const VU sm = REVERSE(LOAD(secret + m)), sqm = REVERSE(LOAD(secret_quotients + m));
            const VU other = LOAD(t3 + half), um = REVERSE(LOAD(u + m));
            VU cross = FN(less)(ADD(FN(product)(other, sm, MUL_HIGH(other, sqm), q), um), twice);
            const VU here = LOAD(u + p), there = FN(product)(here, sm, MUL_HIGH(here, sqm), q);
            cross = FN(less)(ADD(FN(hidden)(cross, s, sq, q), there), twice);
            cross = FN(less)(ADD(cross, LOAD(t1 + half)), twice);
            cross = FN(less)(ADD(cross, cross), twice);
            const VU mirrored = FN(square)(s1 + m, s2 + m, s3 + m, secret + m, secret_quotients + m, q);
            const VU both = FN(less)(ADD(FN(square)(s1 + p, s2 + p, s3 + p, s, sq, q), REVERSE(mirrored)), twice);
            const VU sum = FN(less)(ADD(cross, both), twice), rest = ADD(SUB(cross, both), twice);
            const VU turned = FN(product)(rest, root, MUL_HIGH_SPLAT(rest, high), q);
            STORE(out + p, FN(less)(ADD(sum, turned), twice));
            STORE(out + m, REVERSE(FN(less)(ADD(SUB(sum, turned), twice), twice)));
        }
    }
}

// One butterfly of the inverse NTT, in [0, 2q): u + v and (v - u) w. The inverse of a root is minus its mirror image.
INLINE void FN(unfold)(VU *u, VU *v, VU w, VU quotient, VU q, const int splat) {
    const VU twice = ADD(q, q), rest = ADD(SUB(*v, *u), twice);
    *u = FN(less)(ADD(*u, *v), twice);
    *v = FN(product)(rest, w, splat ? MUL_HIGH_SPLAT(rest, quotient) : MUL_HIGH(rest, quotient), q);
}

// The first stages, within a vector, of as many vectors as it has lanes.
INLINE void FN(unfold_within)(uint32_t *x, int points, const uint32_t *roots, const uint32_t *quotients, VU q) {
    for (long at = 0; at < points; at += LANES * LANES) {
        VU v[LANES];
#pragma GCC unroll 16
        for (int k = 0; k < LANES; k++) v[k] = LOAD(x + at + k * LANES);
        TRANSPOSE(v);
#pragma GCC unroll 4
        for (int t = 1; t < LANES; t *= 2)
#pragma GCC unroll 8
            for (int k = 0; k < LANES / 2; k++) {
                const long from = (points + at) / (2 * t) + k / t * LANES;
                const int i = k / t * 2 * t + k % t;
                FN(unfold)(v + i, v + i + t, LOAD(roots + from), LOAD(quotients + from), q, 0);
            }
        TRANSPOSE(v);
#pragma GCC unroll 16
        for (int k = 0; k < LANES; k++) STORE(x + at + k * LANES, v[k]);
    }
}

// Two stages, of pairs that lie t and 2t apart.
INLINE void FN(unfolds)(uint32_t *x, int points, long t, const uint32_t *roots, const uint32_t *quotients, VU q) {
    for (long i = points / (4 * t); i < points / (2 * t); i++) {
        const VU w = SPLAT(roots[i]), p = SPLAT(quotients[i]);
        const VU w1 = SPLAT(roots[2 * i]), p1 = SPLAT(quotients[2 * i]);
        const VU w2 = SPLAT(roots[2 * i + 1]), p2 = SPLAT(quotients[2 * i + 1]);
        uint32_t *at = x + (4 * i * t - points);
        for (long j = 0; j < t; j += LANES) {
            VU a = LOAD(at + j), b = LOAD(at + j + t), c = LOAD(at + j + 2 * t), d = LOAD(at + j + 3 * t);
            FN(unfold)(&a, &b, w1, p1, q, 1);
            FN(unfold)(&c, &d, w2, p2, q, 1);
            FN(unfold)(&a, &c, w, p, q, 1);
            FN(unfold)(&b, &d, w, p, q, 1);
            STORE(at + j, a);
            STORE(at + j + t, b);
            STORE(at + j + 2 * t, c);
            STORE(at + j + 3 * t, d);
        }
    }
}

KERNEL void FN(inverse)(int limbs, int points, const uint32_t *primes, const uint32_t *roots,
                        const uint32_t *quotients, uint32_t *x) {
    for (int l = 0; l < limbs; l++, x += points, roots += points, quotients += points) {
        const VU q = SPLAT(primes[l]);
        FN(unfold_within)(x, points, roots, quotients, q);
        long t = LANES;
        for (; 2 * t < points; t *= 4) FN(unfolds)(x, points, t, roots, quotients, q);
        if (t == points) continue;
        for (long j = 0; j < t; j += LANES) { // one stage is left
            VU u = LOAD(x + j), v = LOAD(x + j + t);
            FN(unfold)(&u, &v, SPLAT(roots[1]), SPLAT(quotients[1]), q, 1);
            STORE(x + j, u);
            STORE(x + j + t, v);
        }
    }
}

// Words of 64 bits as the nearest doubles: each half goes into the mantissa of a double with a fixed exponent.
INLINE VD FN(nearest)(VU w) {
    const VD low = AS_D(XOR(AND(w, SPLAT_64(0xffffffff)), SPLAT_64(0x4330000000000000)));
    const VD high = AS_D(XOR(RIGHT(w, 32), SPLAT_64(0x4530000000000000)));
    return ADD_D(SUB_D(high, SPLAT_D(0x1p84 + 0x1p52)), low);
}

// The magnitude of the number that residues x [limb][point] make, and its sign. For the primes next below 2^30 the sums
// fit a word (TestSumsOfDigitsFitAWord). Roundings are those of package scoring: of the quotient, and of each 64 bits of
// the magnitude.
INLINE VD FN(number)(const int limbs, long points, const fa_crt *crt, const uint32_t *x, VU *sign) {
    VU sum[FA_LIMBS];
    VD times = SPLAT_D(0.5);
#pragma GCC unroll 6
    for (int d = 0; d < limbs; d++) sum[d] = SPLAT_64(0);
#pragma GCC unroll 6
    for (int l = 0; l < limbs; l++) {
        const VU q = SPLAT_64(crt->prime[l]), v = LOAD_64(x + l * points);
        const VU high = RIGHT(MUL_64(v, SPLAT_64(crt->quotient[l])), 32);
        const VU y = FN(less)(FN(product)(v, SPLAT_64(crt->factor[l]), high, q), q);
        times = ADD_D(times, MUL_D(FN(nearest)(y), SPLAT_D(crt->share[l])));
#pragma GCC unroll 6
        for (int d = 0; d < limbs - 1; d++) sum[d] = ADD_64(sum[d], MUL_64(y, SPLAT_64(crt->digits[l][d])));
    }
    const VU k = WHOLE_64(times);
#pragma GCC unroll 6
    for (int d = 0; d < limbs; d++) {
        sum[d] = ADD_64(sum[d], MUL_64(k, SPLAT_64(crt->digits[limbs][d])));
        if (d > 0) sum[d] = ADD_64(sum[d], RIGHT(sum[d - 1], 32));
        if (d > 0) sum[d - 1] = AND(sum[d - 1], SPLAT_64(0xffffffff));
    }
    sum[limbs - 1] = AND(sum[limbs - 1], SPLAT_64(0xffffffff));
    const VU minus = SUB_64(SPLAT_64(0), RIGHT(sum[limbs - 1], 31));
    VU up = minus; // -1 as long as adding 1 carries
    VD value = ZERO_D();
    double unit = 1;
#pragma GCC unroll 3
    for (int d = 0; d < limbs; d += 2, unit *= 0x1p64) {
        VU w = XOR(XOR(sum[d], LEFT(d + 1 < limbs ? sum[d + 1] : minus, 32)), minus);
        w = SUB_64(w, up);
        up = AND(up, IS_0(w));
        value = ADD_D(MUL_D(FN(nearest)(w), SPLAT_D(unit)), value); // a product by a power of two is exact
    }
    *sign = LEFT(minus, 63);
    return value;
}

INLINE double FN(numbers)(const int limbs, long points, const fa_crt *crt, const uint32_t *x, double unit,
                          double *values) {
    VD largest = ZERO_D();
    for (long n = 0; n < points; n += HALF) {
        VU sign;
        const VD v = MUL_D(FN(number)(limbs, points, crt, x + n, &sign), SPLAT_D(unit));
        largest = MAX_D(largest, v);
        STORE_D(values + n, AS_D(XOR(AS_U(v), sign)));
    }
    double each[HALF], most = 0;
    STORE_D(each, largest);
    for (int i = 0; i < HALF; i++) most = each[i] > most ? each[i] : most;
    return most;
}

KERNEL double FN(join)(int limbs, int points, const fa_crt *crt, const uint32_t *x, double unit, double *values) {
    switch (limbs) {
    case 2: return FN(numbers)(2, points, crt, x, unit, values);
    case 3: return FN(numbers)(3, points, crt, x, unit, values);
    case 6: return FN(numbers)(6, points, crt, x, unit, values);
    default: return __builtin_inf(); // no preset has another number of primes
    }
}

// One butterfly of the FFT on values with re and im apart, without fused multiply-adds: as Go does it on amd64.
INLINE void FN(wind)(VD *a, VD *b, VD c, VD s) {
    const VD re = SUB_D(MUL_D(b[0], c), MUL_D(b[1], s)), im = ADD_D(MUL_D(b[0], s), MUL_D(b[1], c));
    b[0] = SUB_D(a[0], re);
    b[1] = SUB_D(a[1], im);
    a[0] = ADD_D(a[0], re);
    a[1] = ADD_D(a[1], im);
}

// A vector of slots.
INLINE void FN(take)(VD *v, const double *z, long slots) { v[0] = LOAD_D(z), v[1] = LOAD_D(z + slots); }
INLINE void FN(give)(const VD *v, double *z, long slots) { STORE_D(z, v[0]), STORE_D(z + slots, v[1]); }

// Two stages, of pairs that lie 2t and t apart.
INLINE void FN(winds)(double *z, long slots, long t, const double *cosines, const double *sines) {
    for (long i = slots / (4 * t); i < slots / (2 * t); i++) {
        const VD c = SPLAT_D(cosines[i]), s = SPLAT_D(sines[i]);
        const VD c1 = SPLAT_D(cosines[2 * i]), s1 = SPLAT_D(sines[2 * i]);
        const VD c2 = SPLAT_D(cosines[2 * i + 1]), s2 = SPLAT_D(sines[2 * i + 1]);
        double *at = z + (4 * i * t - slots);
        for (long j = 0; j < t; j += HALF) {
            VD v[4][2];
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) FN(take)(v[k], at + j + k * t, slots);
            FN(wind)(v[0], v[2], c, s);
            FN(wind)(v[1], v[3], c, s);
            FN(wind)(v[0], v[1], c1, s1);
            FN(wind)(v[2], v[3], c2, s2);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) FN(give)(v[k], at + j + k * t, slots);
        }
    }
}

// The last stages, within a vector, of as many vectors as it has lanes. Returns the least value.
INLINE VD FN(wind_within)(double *z, long slots, const double *cosines, const double *sines, int paired) {
    VD least = SPLAT_D(__builtin_inf());
    for (long at = 0; at < slots; at += HALF * HALF) {
        VD re[HALF], im[HALF];
#pragma GCC unroll 8
        for (int k = 0; k < HALF; k++) re[k] = LOAD_D(z + at + k * HALF), im[k] = LOAD_D(z + slots + at + k * HALF);
        TRANSPOSE_D(re);
        TRANSPOSE_D(im);
#pragma GCC unroll 3
        for (int t = HALF / 2; t > 0; t /= 2)
#pragma GCC unroll 4
            for (int k = 0; k < HALF / 2; k++) {
                const long from = (slots + at) / (2 * t) + k / t * HALF;
                const int i = k / t * 2 * t + k % t;
                VD a[2] = {re[i], im[i]}, b[2] = {re[i + t], im[i + t]};
                FN(wind)(a, b, LOAD_D(cosines + from), LOAD_D(sines + from));
                re[i] = a[0], im[i] = a[1], re[i + t] = b[0], im[i + t] = b[1];
            }
#pragma GCC unroll 8
        for (int k = 0; k < HALF; k++) least = MIN_D(least, paired ? MIN_D(re[k], im[k]) : re[k]);
        TRANSPOSE_D(re);
        TRANSPOSE_D(im);
#pragma GCC unroll 8
        for (int k = 0; k < HALF; k++) STORE_D(z + at + k * HALF, re[k]), STORE_D(z + slots + at + k * HALF, im[k]);
    }
    return least;
}

KERNEL double FN(slots)(int points, const double *cosines, const double *sines, const int32_t *order, int paired,
                        double *values, int events, double *scores) {
    const long slots = points / 2;
    long t = slots / 2;
    if (__builtin_ctzl(slots / HALF) & 1) {
        for (long j = 0; j < t; j += HALF) { // one stage
            VD a[2], b[2];
            FN(take)(a, values + j, slots);
            FN(take)(b, values + j + t, slots);
            FN(wind)(a, b, SPLAT_D(cosines[1]), SPLAT_D(sines[1]));
            FN(give)(a, values + j, slots);
            FN(give)(b, values + j + t, slots);
        }
        t /= 2;
    }
    for (; t > HALF / 2; t /= 4) FN(winds)(values, slots, t / 2, cosines, sines);
    double each[HALF], least = __builtin_inf();
    STORE_D(each, FN(wind_within)(values, slots, cosines, sines, paired));
    for (int i = 0; i < HALF; i++) least = each[i] < least ? each[i] : least;
    const long first = events < slots ? events : slots;
    for (long i = 0; i < first; i++) scores[i] = values[order[i]];
    for (long i = slots; i < events; i++) scores[i] = values[slots + order[i - slots]];
    return least;
}

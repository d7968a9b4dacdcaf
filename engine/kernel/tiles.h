// Affine forms on the tiles of AMX, included by body.h for AVX-512. A residue is four bytes, and a weight times 256^b
// is, mod q, four digits of base 256 from -128 to 127. So four rows of a tile are one form: each adds up, over all
// features and all bytes of their residues, what belongs to one power of 256. Whoever makes the digits has seen that no
// sum of theirs leaves int32.
//
// digits: int8 [limb][tile of four forms][tile of features][form][power][feature][byte]. The last tile of features ends
// with the last feature, and is 0 at those that the one before it has.
#define TILED __attribute__((target(TARGET ",amx-tile,amx-int8"), always_inline)) static inline
#define TILED_KERNEL __attribute__((target(TARGET ",amx-tile,amx-int8"), noinline)) static
#define POWERS 4
#define FORMS_OF_TILE (16 / POWERS)
#define TILE_WORDS 256
// Tiles whose sums are added up at a time. Twice as many hold sums: some are stored while others are added up.
#define AT_ONCE 3
#define FORMS_AT_ONCE (AT_ONCE * FORMS_OF_TILE)

typedef struct {
    int features, most, depth; // features of a tile, and tiles of them
    long each, of_limb;        // bytes of a tile of digits, and of a limb's
} FN(tiles);

// A piece of work: `count` forms at the points of a block.
typedef struct {
    const uint32_t *x;
    const int8_t *digits;
    int count;
} FN(step);

// The tiles: 0 to 2 and 3 to 5 hold sums, 6 digits, 7 residues.
TILED FN(tiles) FN(shape)(int features, int rows) {
    struct {
        uint8_t palette, start, none[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    const int most = features < 16 ? features : 16, depth = (features + 15) / 16;
    for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = 16;
    shape.bytes[6] = 4 * most, shape.rows[7] = most;
    __asm__ volatile("" : : "r"(&shape) : "memory"); // gcc takes the next line for one that reads 8 bytes
    _tile_loadconfig(&shape);
    const long each = 64L * most;
    return (FN(tiles)){features, most, depth, each, (rows + FORMS_OF_TILE - 1) / FORMS_OF_TILE * depth * each};
}

// The forms from `first` on, and before `end`, whose sums are added up together.
TILED FN(step) FN(step_of)(const FN(tiles) *of, const uint32_t *x, const int8_t *digits, int first, int end) {
    const int count = end - first < FORMS_AT_ONCE ? end - first : FORMS_AT_ONCE;
    return (FN(step)){x, digits + first / FORMS_OF_TILE * of->depth * of->each, count};
}

// Begins with the sums of a step. What does not need them goes on beside it. An instruction names its tiles by number.
#define MULTIPLY(s0, s1, s2)                                                                              \
    do {                                                                                                  \
        _tile_zero(s0);                                                                                   \
        if (more > 1) _tile_zero(s1);                                                                     \
        if (more > 2) _tile_zero(s2);                                                                     \
        for (int i = 0; i < of->depth; i++, digits += of->each) {                                         \
            _tile_loadd(7, step.x + (i + 1 < of->depth ? 16 * i : of->features - of->most) * 16L, 64);    \
            _tile_loadd(6, digits, 4 * of->most);                                                         \
            _tile_dpbsud(s0, 6, 7);                                                                       \
            if (more > 1) {                                                                               \
                _tile_loadd(6, digits + of->depth * of->each, 4 * of->most);                              \
                _tile_dpbsud(s1, 6, 7);                                                                   \
            }                                                                                             \
            if (more > 2) {                                                                               \
                _tile_loadd(6, digits + 2 * of->depth * of->each, 4 * of->most);                          \
                _tile_dpbsud(s2, 6, 7);                                                                   \
            }                                                                                             \
        }                                                                                                 \
    } while (0)

TILED void FN(multiply)(const FN(tiles) *of, FN(step) step, int odd) {
    const int more = (step.count + FORMS_OF_TILE - 1) / FORMS_OF_TILE;
    const int8_t *digits = step.digits;
    if (odd)
        MULTIPLY(3, 4, 5);
    else
        MULTIPLY(0, 1, 2);
}
#undef MULTIPLY

// Takes them out of the tiles: int32 [form][power][16].
#define TAKE(s0, s1, s2)                                                                      \
    do {                                                                                      \
        _tile_stored(s0, sums, 64);                                                           \
        if (step.count > FORMS_OF_TILE) _tile_stored(s1, sums + TILE_WORDS, 64);              \
        if (step.count > 2 * FORMS_OF_TILE) _tile_stored(s2, sums + 2 * TILE_WORDS, 64);      \
    } while (0)

TILED void FN(take)(FN(step) step, int odd, int32_t *sums) {
    if (odd)
        TAKE(3, 4, 5);
    else
        TAKE(0, 1, 2);
}
#undef TAKE

// Signed residues of `count` forms from those sums, or backwards; up to .516 q of magnitude. A sum is low + 2^16 high,
// either an int32. For a quotient below 2^17.01 the upper bits of both and float32 are enough: half of a unit, and
// 2^-7 for the factor, 2^-8 for the words, 2^-8 for the product and 2^-14 for what is cut off. What is left needs no
// more than the low words.
TILED void FN(join)(const int32_t *sums, int count, const int32_t *bias, double q, int32_t *y, const int backwards) {
    const __m512 factor = _mm512_set1_ps((float)(0x1p16 / q));
    for (int j = 0; j < count; j++, sums += POWERS * 16) {
        const VI first = ADD_I32(LOAD_WORDS(sums), SPLAT_I32(bias[j]));
        const VI low = ADD_I32(first, _mm512_slli_epi32(LOAD_WORDS(sums + 16), 8));
        const VI high = ADD_I32(LOAD_WORDS(sums + 32), _mm512_slli_epi32(LOAD_WORDS(sums + 48), 8));
        const VI upper = ADD_I32(high, _mm512_srai_epi32(low, 16)), sum = ADD_I32(low, _mm512_slli_epi32(high, 16));
        const VI times = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(upper), factor));
        const VI rest = _mm512_sub_epi32(sum, _mm512_mullo_epi32(times, SPLAT_I32((int32_t)q)));
        STORE_WORDS(y + j * 16, backwards ? BACKWARDS(rest) : rest);
    }
}

// Residues of the forms from `first` to `end` of a block, whose first sums are taken; then those of `next` are. Tells
// which tiles come next.
TILED int FN(tiled_rows)(const FN(tiles) *of, const uint32_t *x, const int8_t *digits, int first, int end,
                         const int32_t *bias, double q, FN(step) next, int odd, int32_t *sums, int32_t *y,
                         const int backwards) {
    for (int j = first; j < end; j += FORMS_AT_ONCE, odd = !odd) {
        const int then = j + FORMS_AT_ONCE;
        const FN(step) coming = then < end ? FN(step_of)(of, x, digits, then, end) : next;
        FN(multiply)(of, coming, odd);
        FN(join)(sums, then < end ? FORMS_AT_ONCE : end - j, bias + j, q, y + (j - first) * 16, backwards);
        FN(take)(coming, odd, sums);
    }
    return odd;
}

// Not 0 if a residue of a block is q or more. Fetches as much from `ahead` on.
TILED int FN(checked)(const uint32_t *x, int features, double q, const uint32_t *ahead) {
    const VI most = SPLAT_I32((int32_t)q - 1);
    VI largest = most;
    for (int i = 0; i < features; i++) {
        __builtin_prefetch(ahead + i * 16L);
        largest = _mm512_max_epu32(largest, LOAD_WORDS(x + i * 16L));
    }
    return _mm512_cmpneq_epu32_mask(largest, most);
}

TILED_KERNEL void FN(tiled_linear)(int limbs, int points, int features, int rows, const int8_t *digits,
                                   const double *primes, const int32_t *bias, const uint32_t *x, int32_t *y) {
    int32_t sums[AT_ONCE * TILE_WORDS] __attribute__((aligned(64)));
    const FN(tiles) own = FN(shape)(features, rows), *of = &own;
    const int blocks = points / 16;
    int odd = 1;
    FN(step) next = FN(step_of)(of, x, digits, 0, rows);
    FN(multiply)(of, next, !odd);
    FN(take)(next, !odd, sums);
    for (int l = 0; l < limbs; l++, digits += of->of_limb)
        for (int b = 0; b < blocks; b++) {
            const long at = (long)l * blocks + b;
            const uint32_t *here = x + at * features * 16;
            const int same = b + 1 < blocks, last = !same && l + 1 == limbs; // after which any sums will do
            for (int i = 0; i < features; i++) __builtin_prefetch(here + (2 * features + i) * 16L);
            const int32_t *first = bias + ((b < blocks / 2 ? 0 : limbs) + l) * (long)rows;
            const int8_t *then = same || last ? digits : digits + of->of_limb;
            next = FN(step_of)(of, last ? here : here + features * 16, then, 0, rows);
            odd = FN(tiled_rows)(of, here, digits, 0, rows, first, primes[l], next, odd, sums, y + at * rows * 16, 0);
        }
    _tile_release();
}

TILED_KERNEL int FN(tiled_quadratic)(int limbs, int points, int features, int rows, const int8_t *digits,
                                     const double *primes, const int32_t *bias, const int32_t *fixed,
                                     const uint32_t *c0, uint32_t *s1, uint32_t *s2, uint32_t *u, uint32_t *t1) {
    // As GROUP, but cut where a tile is.
    const int blocks = points / 16, group = rows <= GROUP ? rows : GROUP / FORMS_OF_TILE * FORMS_OF_TILE;
    int32_t here[GROUP * 16] __attribute__((aligned(64))), there[GROUP * 16] __attribute__((aligned(64)));
    int32_t sums[AT_ONCE * TILE_WORDS] __attribute__((aligned(64)));
    const FN(tiles) own = FN(shape)(features, rows), *of = &own;
    int above = 0, odd = 1;
    FN(step) next = FN(step_of)(of, c0, digits, 0, group);
    FN(multiply)(of, next, !odd);
    FN(take)(next, !odd, sums);
    for (int l = 0; l < limbs; l++, digits += of->of_limb) {
        const double q = primes[l], inverse = 1.0 / q;
        const int32_t *low = bias + (long)l * rows, *high = low + (long)limbs * rows;
        for (int b = 0; b < blocks / 2; b++) {
            const int m = blocks - 1 - b, same = b + 1 < blocks / 2, last = !same && l + 1 == limbs;
            const long at = (long)l * blocks + b, mirror = (long)l * blocks + m, size = features * 16L;
            const uint32_t *x = c0 + at * size, *xm = c0 + mirror * size;
            uint32_t *const s1m = s1 + mirror * 16, *const s2m = s2 + mirror * 16, *const um = u + mirror * 16;
            above |= FN(checked)(x, features, q, x + 2 * size) | FN(checked)(xm, features, q, xm - 2 * size);
            for (int g = 0; g < rows; g += group) {
                const int end = rows - g < group ? rows : g + group, count = end - g, first = g == 0;
                next = FN(step_of)(of, xm, digits, g, end);
                odd = FN(tiled_rows)(of, x, digits, g, end, low, q, next, odd, sums, here, 0);
                if (end < rows)
                    next = FN(step_of)(of, x, digits, end, rows - end < group ? rows : end + group);
                else // of the next pair of blocks, or of the next limb's first one; after the last, any will do
                    next = FN(step_of)(of, same ? x + size : last ? x : c0 + (l + 1L) * blocks * size,
                                       same || last ? digits : digits + of->of_limb, 0, group);
                odd = FN(tiled_rows)(of, xm, digits, g, end, high, q, next, odd, sums, there, 1);
                const int32_t *z = fixed + (at * rows + g) * 16, *zm = fixed + (mirror * rows + g) * 16;
                FN(dots4)(here, z, zm, there, count, q, inverse, first, rows * 16L, s1 + at * 16, s2 + at * 16,
                          u + at * 16, t1 + ((long)l * (blocks / 2) + b) * 16);
                FN(dots3)(there, zm, z, count, q, inverse, first, s1m, s2m, um);
            }
            FN(turn)(s1m), FN(turn)(s2m), FN(turn)(um);
        }
    }
    _tile_release();
    return !above;
}
#undef TILED
#undef TILED_KERNEL
#undef POWERS
#undef FORMS_OF_TILE
#undef TILE_WORDS
#undef AT_ONCE
#undef FORMS_AT_ONCE

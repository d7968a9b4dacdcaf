#include "kernel.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#include <time.h>

// Compilers that know AMX, and a system that lends it to a process.
#if defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define HAS_TILES 1
#else
#define HAS_TILES 0
#endif

// Rows whose products one 64-bit sum holds: 30 2^58 + 2^30 < 2^63, and with the tiles of AMX, whose residues are up to
// .516 of a prime, 30 (.516 2^30)^2 + 2^30 is still less. A multiple of both tile heights.
#define GROUP 30

// ---- AVX-512 ----
#define SUFFIX _avx512
#define TARGET "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma"
#define LANES 8
#define TILE_POINTS 16
#define TILE_ROWS 10
#define PART 16
#define VD __m512d
#define VI __m512i
#define SPLAT _mm512_set1_pd
#define LOAD_U32(p) _mm512_cvtepu32_pd(_mm256_loadu_si256((const __m256i *)(p)))
#define FMA _mm512_fmadd_pd
#define FNMA _mm512_fnmadd_pd
#define MUL _mm512_mul_pd
#define PACK(a, b) \
    _mm512_permutex2var_epi32(a, _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0), b)
#define PACK_BACKWARDS(a, b) \
    _mm512_permutex2var_epi32(a, _mm512_set_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), b)
#define ALTERNATE(even, odd) _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, 0xA0)
#define ZERO _mm512_setzero_si512
#define ADD_I64 _mm512_add_epi64
#define SUB_I64 _mm512_sub_epi64
#define SPLAT_I64 _mm512_set1_epi64
#define KEEP_POSITIVE(v, other) _mm512_mask_mov_epi64(v, _mm512_movepi64_mask(v), other)
#define MUL_I32 _mm512_mul_epi32
#define LOAD_I64(p) _mm512_cvtepi32_epi64(_mm256_loadu_si256((const __m256i *)(p)))
#define LESS_TIMES(a, times, q) _mm512_madd52lo_epu64(a, BITS(times), _mm512_set1_epi64((1L << 52) - (int64_t)(q)))
#define DOUBLE _mm512_cvtepi64_pd
#define SPLAT_I32 _mm512_set1_epi32
#define ADD_I32 _mm512_add_epi32
#define MIN_U32 _mm512_min_epu32
#define LOAD_WORDS(p) _mm512_loadu_si512(p)
#define STORE_WORDS(p, v) _mm512_storeu_si512(p, v)
#define UPPER(v) _mm512_srli_epi64(v, 32)
// Signed words of odd places where MUL_I32 takes them; unlike shifts, moves have ports of their own.
#define ODD(v) _mm512_castps_si512(_mm512_movehdup_ps(_mm512_castsi512_ps(v)))
#define LIFT(v) _mm512_slli_epi64(v, 32)
#define ADD _mm512_add_pd
#define SUB _mm512_sub_pd
#define FMS _mm512_fmsub_pd
#define BITS _mm512_castpd_si512
#define LOAD_D _mm512_load_pd
#define STORE_D _mm512_store_pd
#define LOAD_S32(p) _mm512_cvtepi32_pd(_mm256_loadu_si256((const __m256i *)(p)))
#define START(p)                                                                                                   \
    _mm512_castsi512_pd(_mm512_permutex2var_epi32(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(p))), \
                                                  _mm512_set_epi32(16, 7, 16, 6, 16, 5, 16, 4, 16, 3, 16, 2, 16, 1, 16, 0), \
                                                  _mm512_set1_epi32(0x43380000)))

// 16 words backwards, and in their place.
#define BACKWARDS(v) _mm512_permutexvar_epi32(_mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), v)
__attribute__((target(TARGET), always_inline)) static inline void turn_avx512(uint32_t *x) {
    _mm512_storeu_si512(x, BACKWARDS(_mm512_loadu_si512(x)));
}

// Not 0 if one of some residues, a multiple of 16, is q or more.
__attribute__((target(TARGET), always_inline)) static inline int above_avx512(const uint32_t *x, int words, double q) {
    const __m512i most = _mm512_set1_epi32((int32_t)q - 1);
    __m512i largest = most;
    for (int i = 0; i < words; i += 16) largest = _mm512_max_epu32(largest, _mm512_loadu_si512(x + i));
    return _mm512_cmpneq_epu32_mask(largest, most);
}

#define WITH_TILES HAS_TILES
#include "body.h"
#undef BACKWARDS

// ---- AVX2 and FMA ----
#define WITH_TILES 0
#define SUFFIX _avx2
#define TARGET "avx2,fma"
#define LANES 4
#define TILE_POINTS 8
#define TILE_ROWS 5
#define PART 4
#define VD __m256d
#define VI __m256i
#define SPLAT _mm256_set1_pd
// Residues are below 2^31, so the signed conversion is right.
#define LOAD_U32(p) _mm256_cvtepi32_pd(_mm_loadu_si128((const __m128i *)(p)))
#define FMA _mm256_fmadd_pd
#define FNMA _mm256_fnmadd_pd
#define MUL _mm256_mul_pd
#define SHUFFLE(a, b, order) \
    _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), order))
#define PACK(a, b) _mm256_permute4x64_epi64(SHUFFLE(a, b, 0x88), 0xD8)
#define PACK_BACKWARDS(a, b) _mm256_permute4x64_epi64(SHUFFLE(b, a, 0x22), 0x72)
#define ALTERNATE(even, odd) _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA)
#define ZERO _mm256_setzero_si256
#define ADD_I64 _mm256_add_epi64
#define SUB_I64 _mm256_sub_epi64
#define SPLAT_I64 _mm256_set1_epi64x
#define KEEP_POSITIVE(v, other) \
    _mm256_castpd_si256(_mm256_blendv_pd(_mm256_castsi256_pd(v), _mm256_castsi256_pd(other), _mm256_castsi256_pd(v)))
#define MUL_I32 _mm256_mul_epi32
#define LOAD_I64(p) _mm256_cvtepi32_epi64(_mm_loadu_si128((const __m128i *)(p)))
#define LESS_TIMES(a, times, q) SUB_I64(a, _mm256_mul_epu32(BITS(times), SPLAT_I64((int64_t)(q))))
#define DOUBLE double_avx2
#define SPLAT_I32 _mm256_set1_epi32
#define ADD_I32 _mm256_add_epi32
#define MIN_U32 _mm256_min_epu32
#define LOAD_WORDS(p) _mm256_loadu_si256((const __m256i *)(p))
#define STORE_WORDS(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define UPPER(v) _mm256_srli_epi64(v, 32)
#define ODD(v) _mm256_castps_si256(_mm256_movehdup_ps(_mm256_castsi256_ps(v)))
#define LIFT(v) _mm256_slli_epi64(v, 32)
#define ADD _mm256_add_pd
#define SUB _mm256_sub_pd
#define FMS _mm256_fmsub_pd
#define BITS _mm256_castpd_si256
#define LOAD_D _mm256_load_pd
#define STORE_D _mm256_store_pd
#define LOAD_S32 LOAD_U32
#define START(p)                                                                                           \
    _mm256_castsi256_pd(_mm256_or_si256(_mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)(p))), \
                                        _mm256_set1_epi64x(0x4338000000000000)))

__attribute__((target(TARGET), always_inline)) static inline int above_avx2(const uint32_t *x, int words, double q) {
    const __m256i most = _mm256_set1_epi32((int32_t)q - 1);
    __m256i largest = most;
    for (int i = 0; i < words; i += 8)
        largest = _mm256_max_epu32(largest, _mm256_loadu_si256((const __m256i *)(x + i)));
    return ~_mm256_movemask_epi8(_mm256_cmpeq_epi32(largest, most));
}

// Doubles of 64-bit integers: each half goes into the mantissa of a double with a fixed exponent.
__attribute__((target(TARGET), always_inline)) static inline __m256d double_avx2(__m256i whole) {
    const __m256i below = _mm256_set1_epi64x(0x4330000000000000), above = _mm256_set1_epi64x(0x4530000080000000);
    const __m256d offset = _mm256_castsi256_pd(_mm256_set1_epi64x(0x4530000080100000));
    const __m256i low = _mm256_blend_epi32(below, whole, 0x55);
    const __m256i high = _mm256_xor_si256(_mm256_srli_epi64(whole, 32), above);
    return _mm256_add_pd(_mm256_sub_pd(_mm256_castsi256_pd(high), offset), _mm256_castsi256_pd(low));
}

// 16 words backwards, in their place.
__attribute__((target(TARGET), always_inline)) static inline void turn_avx2(uint32_t *x) {
    const __m256i order = _mm256_set_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i low = _mm256_loadu_si256((const __m256i *)x), high = _mm256_loadu_si256((const __m256i *)(x + 8));
    _mm256_storeu_si256((__m256i *)x, _mm256_permutevar8x32_epi32(high, order));
    _mm256_storeu_si256((__m256i *)(x + 8), _mm256_permutevar8x32_epi32(low, order));
}
#include "body.h"

#if HAS_TILES
// Of arch_prctl, and what it lends.
enum { GET_SUPPORTED = 0x1021, ASK_FOR = 0x1023, TILE_DATA = 18 };

static int tiles_here(void) {
    unsigned a, b, c, d;
    uint64_t supported = 0;
    const unsigned wanted = 1u << 24 | 1u << 25; // AMX-TILE, AMX-INT8
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & wanted) == wanted &&
           !syscall(SYS_arch_prctl, GET_SUPPORTED, &supported) && supported >> TILE_DATA & 1;
}

int fa_kernel_ask_for_tiles(void) { return !syscall(SYS_arch_prctl, ASK_FOR, TILE_DATA); }

void fa_kernel_tiled_linear(int limbs, int points, int features, int rows, const int8_t *digits, const double *primes,
                            const int32_t *bias, const uint32_t *x, int32_t *y) {
    tiled_linear_avx512(limbs, points, features, rows, digits, primes, bias, x, y);
}

int fa_kernel_tiled_quadratic(int limbs, int points, int features, int rows, const int8_t *digits, const double *primes,
                              const int32_t *bias, const int32_t *fixed, const uint32_t *c0, uint32_t *s1, uint32_t *s2,
                              uint32_t *u, uint32_t *t1) {
    return tiled_quadratic_avx512(limbs, points, features, rows, digits, primes, bias, fixed, c0, s1, s2, u, t1);
}
#else
static int tiles_here(void) { return 0; }
#endif

static int find_best(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512ifma"))
        return tiles_here() ? FA_AMX : FA_AVX512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? FA_AVX2 : 0;
}

int fa_kernel_best(void) {
    static int found = -1; // virtual machines take microseconds to ask a processor
    int best = __atomic_load_n(&found, __ATOMIC_RELAXED);
    if (best < 0) __atomic_store_n(&found, best = find_best(), __ATOMIC_RELAXED);
    return best;
}

void fa_kernel_linear(int isa, int limbs, int points, int features, int rows, const double *weights,
                      const double *primes, const double *bias, const uint32_t *x, int32_t *y) {
    (isa >= FA_AVX512 ? linear_avx512 : linear_avx2)(limbs, points, features, rows, weights, primes, bias, x, y);
}

int fa_kernel_quadratic(int isa, int limbs, int points, int features, int rows, const double *weights,
                        const double *primes, const double *bias, const int32_t *fixed, const uint32_t *c0,
                        uint32_t *s1, uint32_t *s2, uint32_t *u, uint32_t *t1) {
    return (isa >= FA_AVX512 ? quadratic_avx512 : quadratic_avx2)(limbs, points, features, rows, weights, primes, bias,
                                                                  fixed, c0, s1, s2, u, t1);
}

int fa_kernel_polynomial(int isa, const fa_polynomial *p, const uint32_t *c0, uint32_t *answer) {
    return (isa >= FA_AVX512 ? polynomial_avx512 : polynomial_avx2)(p, c0, answer);
}

void fa_kernel_product(int isa, int limbs, int points, int features, int rows, const double *primes,
                       const uint32_t *matrix, const uint32_t *x, uint32_t *out) {
    (isa >= FA_AVX512 ? product_avx512 : product_avx2)(limbs, points, features, rows, primes, matrix, x, out);
}

static int some_above(int isa, const uint32_t *x, long words, double q) {
    return (isa >= FA_AVX512 ? any_above_avx512 : any_above_avx2)(x, words, q);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Independent chains, more than latency times throughput of any core needs.
#define PEAK(suffix, isa_target, vector, lanes, chains, splat, fma)                                \
    __attribute__((target(isa_target))) static double peak_##suffix(void) {                        \
        vector sum[chains], w = splat(0.5), x = splat(1.25);                                       \
        for (int i = 0; i < chains; i++) sum[i] = splat(i);                                        \
        const long turns = 1000000;                                                                \
        const double start = seconds();                                                            \
        for (long n = 0; n < turns; n++) {                                                         \
            _Pragma("GCC unroll 16") for (int i = 0; i < chains; i++) sum[i] = fma(sum[i], w, x);  \
            __asm__ volatile("" : "+v"(w));                                                        \
        }                                                                                          \
        const double took = seconds() - start;                                                     \
        for (int i = 0; i < chains; i++) __asm__ volatile("" : : "v"(sum[i]));                     \
        return (double)turns * chains * lanes / took / 1e9;                                        \
    }
PEAK(avx512, "avx512f", __m512d, 8, 16, _mm512_set1_pd, _mm512_fmadd_pd)
PEAK(avx2, "avx2,fma", __m256d, 4, 12, _mm256_set1_pd, _mm256_fmadd_pd)

double fa_kernel_peak(int isa) {
    double best = 0;
    for (int turn = 0; turn < 20; turn++) {
        const double now = isa >= FA_AVX512 ? peak_avx512() : peak_avx2();
        if (now > best) best = now;
    }
    return best;
}

#else // another processor: the portable kernel in Go does everything

#define HAS_TILES 0

int fa_kernel_best(void) { return 0; }
void fa_kernel_linear(int isa, int limbs, int points, int features, int rows, const double *weights,
                      const double *primes, const double *bias, const uint32_t *x, int32_t *y) {}
int fa_kernel_quadratic(int isa, int limbs, int points, int features, int rows, const double *weights,
                        const double *primes, const double *bias, const int32_t *fixed, const uint32_t *c0,
                        uint32_t *s1, uint32_t *s2, uint32_t *u, uint32_t *t1) {
    return 0;
}
int fa_kernel_polynomial(int isa, const fa_polynomial *p, const uint32_t *c0, uint32_t *answer) { return 0; }
void fa_kernel_product(int isa, int limbs, int points, int features, int rows, const double *primes,
                       const uint32_t *matrix, const uint32_t *x, uint32_t *out) {}
static int some_above(int isa, const uint32_t *x, long words, double q) { return 0; }
double fa_kernel_peak(int isa) { return 0; }
#endif

int fa_kernel_below(int limbs, long words, const double *primes, const uint32_t *x) {
    const int isa = fa_kernel_best();
    for (int l = 0; l < limbs; l++, x += words) {
        const uint32_t q = (uint32_t)primes[l];
        const long whole = isa ? words / 16 * 16 : 0;
        uint32_t above = isa && some_above(isa, x, whole, q);
        for (long i = whole; i < words; i++) above |= x[i] >= q;
        if (above) return 0;
    }
    return 1;
}

#if !HAS_TILES
int fa_kernel_ask_for_tiles(void) { return 0; }
void fa_kernel_tiled_linear(int limbs, int points, int features, int rows, const int8_t *digits, const double *primes,
                            const int32_t *bias, const uint32_t *x, int32_t *y) {}
int fa_kernel_tiled_quadratic(int limbs, int points, int features, int rows, const int8_t *digits, const double *primes,
                              const int32_t *bias, const int32_t *fixed, const uint32_t *c0, uint32_t *s1, uint32_t *s2,
                              uint32_t *u, uint32_t *t1) {
    return 0;
}
#endif

// Of package fault: a buffer has the wrong size; not a message of this circuit.
enum { WRONG_BUFFER = -2, NOT_A_MESSAGE = -7 };

int32_t fa_squares_score(int64_t outputs, int32_t count, const uint32_t *batch, int64_t n_batch, uint32_t *answer,
                         int64_t n_answer) {
    const fa_squares *of = (const fa_squares *)(intptr_t)outputs;
    const int64_t all = (int64_t)of->limbs * of->points, each = 3 * all + all / 2;
    if (n_batch != all * of->features || n_answer != count * each) return WRONG_BUFFER;
    uint32_t *s1 = answer;
    for (int i = 0; i < count; i++, of++, s1 += each) {
        uint32_t *const s2 = s1 + all, *const u = s2 + all, *const t1 = u + all;
        const int fine = of->digits
                             ? fa_kernel_tiled_quadratic(of->limbs, of->points, of->features, of->rows, of->digits,
                                                         of->primes, of->residues, of->fixed, batch, s1, s2, u, t1)
                             : fa_kernel_quadratic(of->isa, of->limbs, of->points, of->features, of->rows, of->weights,
                                                   of->primes, of->bias, of->fixed, batch, s1, s2, u, t1);
        if (!fine) {
            memset(answer, 0, sizeof(*answer) * (size_t)n_answer);
            return NOT_A_MESSAGE;
        }
    }
    return 0;
}

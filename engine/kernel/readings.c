#include "readings.h"

#include "kernel.h"

#if defined(__x86_64__)
// For loops over floats to become vectors. Bits stay those of Go: nothing is fused, nothing is put in another order.
#pragma GCC optimize("O3,fp-contract=off,no-math-errno,no-trapping-math")

#define READINGS(suffix, isa_target)                                                                                  \
    __attribute__((target(isa_target))) static void standardise_##suffix(                                             \
        long events, long features, const double *restrict rows, const double *restrict center,                      \
        const double *restrict width, const double *restrict unit, double grid, double usual, double *restrict out,  \
        uint8_t *restrict far) {                                                                                      \
        for (long e = 0; e < events; e++) {                                                                           \
            int64_t beyond = 0;                                                                                       \
            for (long j = 0; j < features; j++) {                                                                     \
                const double z = (rows[e * features + j] - center[j]) / width[j];                                     \
                beyond |= !(__builtin_fabs(z) <= usual);                                                              \
                out[e * features + j] = __builtin_rint(z * grid) * unit[j];                                           \
            }                                                                                                         \
            far[e] = (uint8_t)beyond;                                                                                 \
        }                                                                                                             \
    }                                                                                                                 \
    __attribute__((target(isa_target))) static int within_##suffix(long n, const double *restrict x, double most) {   \
        int64_t beyond = 0;                                                                                           \
        for (long i = 0; i < n; i++) beyond |= !(__builtin_fabs(x[i]) <= most);                                       \
        return !beyond;                                                                                               \
    }
READINGS(avx512, "avx512f,avx512dq,avx512vl,avx512bw")
READINGS(avx2, "avx2")

void fa_readings_standardise(int isa, long events, long features, const double *rows, const double *center,
                             const double *width, const double *unit, double grid, double usual, double *out,
                             uint8_t *far) {
    (isa >= FA_AVX512 ? standardise_avx512 : standardise_avx2)(events, features, rows, center, width, unit, grid, usual,
                                                               out, far);
}

int fa_readings_within(int isa, long n, const double *x, double most) {
    return (isa >= FA_AVX512 ? within_avx512 : within_avx2)(n, x, most);
}

#else // another processor: Go does it

void fa_readings_standardise(int isa, long events, long features, const double *rows, const double *center,
                             const double *width, const double *unit, double grid, double usual, double *out,
                             uint8_t *far) {}
int fa_readings_within(int isa, long n, const double *x, double most) { return 0; }
#endif

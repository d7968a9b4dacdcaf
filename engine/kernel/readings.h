// What is done to readings before they are encrypted. Nothing here branches on them.
#include <stdint.h>

// out [event][feature] = round((x - center) / width * grid) * unit. far [event]: 1 where one of these lies farther than
// `usual` widths from its centre, or is missing.
void fa_readings_standardise(int isa, long events, long features, const double *rows, const double *center,
                             const double *width, const double *unit, double grid, double usual, double *out,
                             uint8_t *far);

// 1 if none is missing, infinite, or farther than `most` from 0.
int fa_readings_within(int isa, long n, const double *x, double most);

/* matrix.h: death at every crash point. See matrix.c. */
#ifndef SIM_MATRIX_H
#define SIM_MATRIX_H

/* `matrix [POINT [CASE]]`: all points, one, or one of its worlds, told. TAP on standard output. 0: nothing was wrong, and every
 * point was passed. */
int sim_matrix(int argc, char **argv);

#endif
